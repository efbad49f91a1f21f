//! The log of all commands and credits: whoever touches a row by hand is found out, and the row is named; a claimant's
//! proof is checked without us.

mod keys;
mod proofs;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Answer, INCIDENT, Ran, Redress, Server, merchant_claim, merchants, wait_until};

/// An installation with thirty subscribers and one merchant's claim, credited; returns the claim's answer.
fn credited(redress: &Redress) -> Value {
    redress.with_incident().with_staff().with_policies(&["melon", "kakaotalk-merchant-loss"]);
    let mut roster = String::from("customer,service,reference,kind,channel\n");
    for number in 0..30 {
        roster.push_str(&format!("s-{number:02},melon,sub-{number},subscription,web\n"));
    }
    let roster = redress.file("melon.csv", roster);
    redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
    let roster = redress.file("merchants.csv", merchants(&["m-1", "m-2"]));
    redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
    let server = redress.serve();
    let claim = server.claim("one", &merchant_claim("m-1", "100000")).json();
    assert_eq!(server.claim("two", &merchant_claim("m-2", "400000")).status, 201);
    assert_eq!(server.stop(), Some(0));
    redress.with_budget("melon", "day:melon", "1000").with_budget("kakaotalk", "KRW", "1000000");
    assert_eq!(redress.issue()["issued"], 32);
    claim
}

/// A copy of an installation's database, to break.
struct Copy<'a> {
    redress: &'a Redress,
    /// With the keys of the installation, and without the head that it keeps outside the database.
    folder: TempDir,
    name: String,
    url: String,
}

impl<'a> Copy<'a> {
    fn of(redress: &'a Redress) -> Self {
        let own = redress.text("SELECT current_database()");
        let name = format!("{own}_copy");
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("secrets")).unwrap();
        for key in ["secrets/master.key", "secrets/signing.key"] {
            std::fs::copy(redress.folder.path().join(key), folder.path().join(key)).unwrap();
        }
        let copy = Self { redress, folder, url: redress.url().replace(&own, &name), name };
        copy.admin(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", copy.name));
        copy.admin(&format!("CREATE DATABASE {} TEMPLATE {own}", copy.name));
        copy
    }

    fn admin(&self, statement: &str) {
        let url = self.url.replace(&self.name, "postgres");
        PgConnection::establish(&url).unwrap().batch_execute(statement).unwrap();
    }

    /// Changes rows behind the program's back, as the owner can.
    fn tamper(&self, statements: &str) -> &Self {
        PgConnection::establish(&self.url).unwrap().batch_execute(statements).unwrap();
        self
    }

    fn run(&self, args: &[&str]) -> Ran {
        let mut command = self.redress.command(args);
        command.env("REDRESS_DATABASE_URL", &self.url).env("REDRESS_DATA_DIR", self.folder.path());
        Ran::of(command.output().unwrap(), args)
    }

    /// The single number that a query answers with.
    fn number(&self, query: &str) -> i64 {
        self.text(query).parse().unwrap()
    }

    /// The single text that a query answers with.
    fn text(&self, query: &str) -> String {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = diesel::sql_types::Text)]
            text: String,
        }
        let query = format!("SELECT ({query})::text AS text");
        diesel::sql_query(query).get_result::<Row>(&mut PgConnection::establish(&self.url).unwrap()).unwrap().text
    }

    /// Verifies, which must fail; returns what it says.
    #[track_caller]
    fn faults(&self, more: &[&str]) -> String {
        let args: Vec<&str> = ["verify", "--format", "json"].into_iter().chain(more.iter().copied()).collect();
        let ran = self.run(&args);
        assert_eq!(ran.code, Some(1), "{}\n{}", ran.stdout, ran.stderr);
        let report = ran.json();
        assert_eq!(report["holds"], false);
        let faults = report["checks"].as_array().unwrap().iter().flat_map(|check| check["faults"].as_array().unwrap());
        faults.map(|fault| fault.as_str().unwrap()).collect::<Vec<_>>().join("\n")
    }

    /// It must be found out, and each of these must be said.
    #[track_caller]
    fn names(&self, more: &[&str], rows: &[&str]) {
        let faults = self.faults(more);
        for row in rows {
            assert!(faults.contains(row), "{row:?} is not named in\n{faults}");
        }
    }
}

impl Drop for Copy<'_> {
    fn drop(&mut self) {
        self.admin(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
    }
}

fn proof_of(server: &Server, claim: &Value) -> Answer {
    let bearer = format!("Bearer {}", claim["token"].as_str().unwrap());
    let path = format!("/v1/audit/proof/{}", claim["id"].as_str().unwrap());
    server.get(&path, &[("authorization", &bearer)])
}

#[test]
fn an_edited_row_is_named() {
    Redress::test(|redress| {
        credited(redress);
        redress.run(&["verify"]).succeeds();
        let transfer = redress.text("SELECT id FROM transfer WHERE customer_id = 's-07'");
        Copy::of(redress)
            .tamper("UPDATE transfer SET amount = amount + 1 WHERE customer_id = 's-07'")
            .names(&[], &[&format!("transfer {transfer} of customer s-07"), "was edited"]);
        Copy::of(redress)
            .tamper("UPDATE transfer SET subject = 'holding/other' WHERE customer_id = 's-07'")
            .names(&[], &[&format!("transfer {transfer} of customer s-07")]);
        // Together with the totals, so that the sums of the books agree.
        Copy::of(redress)
            .tamper(
                "UPDATE transfer SET amount = amount + 1 WHERE customer_id = 's-07';
                 UPDATE transfer SET amount = amount - 1 WHERE customer_id = 's-08'",
            )
            .names(&[], &["of customer s-07", "of customer s-08"]);
        let entry = redress.text("SELECT id FROM audit WHERE action = 'budget.approve' ORDER BY id LIMIT 1");
        for change in [
            "actor = 'finance'",
            "at = at - interval '1 day'",
            "detail = '{\"amount\": \"1\"}'",
            "origin = 'http'",
            "after_hash = before_hash",
        ] {
            Copy::of(redress)
                .tamper(&format!("UPDATE audit SET {change} WHERE id = {entry}"))
                .names(&[], &[&format!("audit entry {entry} was edited")]);
        }
        let posting = redress.text("SELECT max(id) FROM posting");
        Copy::of(redress)
            .tamper(&format!("UPDATE posting SET recorded_at = recorded_at - interval '1 day' WHERE id = {posting}"))
            .names(&[], &[&format!("posting {posting} or its seal was edited")]);
        Copy::of(redress)
            .tamper(&format!("UPDATE posting_seal SET salt = sha256('x') WHERE posting_id = {posting}"))
            .names(&[], &[&format!("in posting {posting} was edited")]);
        Copy::of(redress)
            .tamper("UPDATE account SET name = 'owed/EUR' WHERE name = 'owed/KRW'")
            .names(&[], &["was owed/KRW when posting"]);
    });
}

#[test]
fn a_deleted_row_is_named() {
    Redress::test(|redress| {
        credited(redress);
        let transfer =
            redress.text("SELECT left(replace(id::text, '-', ''), 16) FROM transfer WHERE customer_id = 's-07'");
        Copy::of(redress)
            .tamper("DELETE FROM transfer WHERE customer_id = 's-07'")
            .names(&[], &[&format!("whose id begins {transfer} was deleted")]);
        Copy::of(redress).tamper("DELETE FROM audit WHERE id = 5").names(&[], &["audit entry 5 was deleted"]);
        let posting = redress.text("SELECT max(id) FROM posting");
        Copy::of(redress)
            .tamper(&format!(
                "DELETE FROM posting_total WHERE posting_id = {posting}; DELETE FROM posting WHERE id = {posting};
                 DELETE FROM transfer WHERE posting_id = {posting}; DELETE FROM posting_seal WHERE posting_id = {posting}"
            ))
            .names(&[], &[&format!("posting {posting} or its seal was deleted")]);
        Copy::of(redress).tamper("DELETE FROM log_leaf WHERE seq = 3").names(&[], &["leaf 3 of the log was deleted"]);
    });
}

#[test]
fn an_inserted_row_is_named() {
    Redress::test(|redress| {
        credited(redress);
        let id = "01234567-89ab-8def-8123-456789abcdef";
        Copy::of(redress)
            .tamper(&format!(
                "INSERT INTO transfer SELECT customer_id, '{id}', posting_id, amount, debit_account, credit_account,
                     asset_id, policy_version_id, code, 'holding/none' FROM transfer WHERE customer_id = 's-07'"
            ))
            .names(&[], &[&format!("transfer {id} of customer s-07 was inserted into posting")]);
        Copy::of(redress)
            .tamper(&format!(
                "INSERT INTO transfer SELECT customer_id, '{id}', 4711, amount, debit_account, credit_account,
                     asset_id, policy_version_id, code, 'holding/none' FROM transfer WHERE customer_id = 's-07'"
            ))
            .names(&[], &[&format!("transfer {id} of customer s-07 was inserted"), "posting 4711 does not exist"]);
        let entry = redress.number("SELECT max(id) + 1 FROM audit");
        // Without a hash, and with the hash of another entry.
        for hash in ["NULL", "hash"] {
            Copy::of(redress)
                .tamper(&format!(
                    "INSERT INTO audit (id, at, actor, origin, action, object, detail, hash) OVERRIDING SYSTEM VALUE
                     SELECT {entry}, now(), 'finance', origin, 'budget.approve', object, detail, {hash}
                     FROM audit WHERE action = 'budget.authorise' LIMIT 1"
                ))
                .names(
                    &[],
                    &[&format!("audit entry {entry} is in no leaf of the log and was inserted or edited by hand")],
                );
        }
        Copy::of(redress).tamper("INSERT INTO posting (recorded_at) VALUES (now())").names(&[], &["has no seal"]);
    });
}

#[test]
fn swapped_rows_are_named() {
    Redress::test(|redress| {
        credited(redress);
        Copy::of(redress)
            .tamper(
                "UPDATE transfer SET customer_id = CASE customer_id WHEN 's-07' THEN 's-08' ELSE 's-07' END
                 WHERE customer_id IN ('s-07', 's-08')",
            )
            .names(&[], &["of customer s-07", "of customer s-08", "was edited"]);
        Copy::of(redress)
            .tamper(
                "UPDATE audit SET actor = other.actor, at = other.at, origin = other.origin, action = other.action,
                     object = other.object, detail = other.detail, before_hash = other.before_hash,
                     after_hash = other.after_hash, hash = other.hash
                 FROM audit AS other WHERE audit.id IN (3, 4) AND other.id = 7 - audit.id",
            )
            .names(&[], &["audit entry 3 was edited", "audit entry 4 was edited"]);
        Copy::of(redress)
            .tamper("UPDATE log_leaf SET seq = 1000 - seq WHERE seq IN (3, 4); UPDATE log_leaf SET seq = seq - 993 WHERE seq > 900")
            .names(&[], &["the log was rewritten between leaf", "leaf 3 (audit entry 5)"]);
    });
}

#[test]
fn a_rewritten_row_is_found_by_the_signature_and_the_place_is_named() {
    Redress::test(|redress| {
        credited(redress);
        // An entry, its hash and its leaf rewritten together, as who knows the program can; the signature remains.
        let entry = redress.number("SELECT id FROM audit WHERE action = 'budget.approve' ORDER BY id LIMIT 1");
        let leaf = redress.number(&format!("SELECT seq FROM log_leaf WHERE kind = 1 AND source = {entry}"));
        let copy = Copy::of(redress);
        copy.tamper(&format!("UPDATE log_leaf SET hash = sha256('consistent') WHERE seq = {leaf}"));
        copy.names(&[], &[&format!("leaf {leaf} (audit entry {entry})"), "the log was rewritten between leaf"]);
        copy.tamper("UPDATE log_head SET root = sha256('forged')").names(&[], &["the signature does not fit"]);
        Copy::of(redress).tamper("DELETE FROM log_head").names(&[], &["have no signed head after them"]);
    });
}

#[test]
fn a_truncated_tail_is_found() {
    Redress::test(|redress| {
        credited(redress);
        // Each command seals what it left, so this entry is the last leaf.
        redress.run(&["staff", "add", "last", "--role", "agent"]).succeeds();
        let head = redress.folder.path().join("head.json").display().to_string();
        redress.run(&["audit", "export-head", &head]).succeeds();
        redress.run(&["audit", "export-head", &head]).refuses("a head never replaces another file");
        redress.run(&["verify", "--head", &head]).succeeds();
        let last = redress.number("SELECT max(id) FROM audit");
        let size = redress.number("SELECT count(*) FROM log_leaf");
        let copy = Copy::of(redress);
        copy.tamper(&format!("DELETE FROM audit WHERE id = {last}"));
        copy.names(&[], &[&format!("audit entry {last} was deleted")]);
        copy.tamper(&format!("DELETE FROM log_leaf WHERE kind = 1 AND source = {last}"));
        copy.names(&[], &["the log was truncated", &format!("a head of {size} was signed")]);
        copy.tamper(&format!("DELETE FROM log_head WHERE size > {}", size - 1));
        copy.names(&["--head", &head], &["the log was truncated", &format!("leaves {} to {}", size - 1, size - 1)]);
    });
}

#[test]
fn a_wholly_rewritten_log_is_found_by_an_exported_head() {
    Redress::test(|redress| {
        credited(redress);
        let head = redress.folder.path().join("head.json").display().to_string();
        redress.run(&["audit", "export-head", &head]).succeeds();
        let copy = Copy::of(redress);
        // The tables are emptied and the program itself made to sign the past anew, without the entry that hurts.
        copy.tamper(
            "DELETE FROM log_head; DELETE FROM log_node; DELETE FROM log_leaf;
             DELETE FROM audit WHERE action = 'budget.authorise'",
        );
        for name in ["x-1", "x-2", "x-3", "x-4"] {
            copy.run(&["staff", "add", name, "--role", "agent"]).succeeds();
        }
        copy.names(&["--head", &head], &["the log was rewritten: its first"]);
        // A head that was touched, or that another installation signed, is no help to anybody.
        let text = std::fs::read_to_string(&head).unwrap();
        let mut forged: Value = serde_json::from_str(&text).unwrap();
        forged["size"] = serde_json::json!(1);
        let forged = redress.file("forged.json", forged.to_string());
        redress.run(&["verify", "--head", &forged]).fails(1, "");
        redress
            .run(&["verify", "--head", &redress.file("no.json", "{}")])
            .refuses("is not an exported head of the log");
    });
}

#[test]
fn the_program_signs_no_log_that_does_not_continue_the_head_it_kept() {
    Redress::test(|redress| {
        credited(redress);
        let copy = Copy::of(redress);
        std::fs::copy(redress.folder.path().join("log-head.json"), copy.folder.path().join("log-head.json")).unwrap();
        copy.run(&["verify"]).succeeds();
        copy.tamper("DELETE FROM log_head; DELETE FROM log_node; DELETE FROM log_leaf; DELETE FROM audit WHERE id = 5");
        let size = redress.number("SELECT count(*) FROM log_leaf");
        copy.names(&[], &["the log was truncated", &format!("leaves 0 to {}", size - 1)]);
        let ran = copy.run(&["staff", "add", "zed", "--role", "agent"]).succeeds();
        assert!(ran.stderr.contains("does not continue the head"), "{}", ran.stderr);
        assert_eq!(copy.run(&["verify"]).code, Some(1));
    });
}

#[test]
fn heads_are_consistent_over_time_and_survive_a_kill() {
    Redress::test(|redress| {
        let head = |name: &str| {
            let path = redress.folder.path().join(name).display().to_string();
            redress.run(&["audit", "export-head", &path]).succeeds();
            path
        };
        let mut heads = vec![head("empty.json")];
        redress.with_incident().with_staff();
        heads.push(head("staff.json"));
        redress.with_policies(&["kakaotalk-merchant-loss"]);
        let roster = redress.file("merchants.csv", merchants(&["m-1"]));
        redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
        let server = redress.serve();
        let claim = server.claim("first", &merchant_claim("m-1", "100000")).json();
        wait_until("the server has sealed", || {
            redress.number("SELECT count(*) FROM audit")
                == redress.number("SELECT count(*) FROM log_leaf WHERE kind = 1")
        });
        heads.push(head("served.json"));
        // More than one tile of leaves, the last of them not yet sealed.
        for number in 0..300 {
            let claim = merchant_claim("m-1", &(1000 + number).to_string());
            assert_eq!(server.claim(&format!("key-{number}"), &claim).status, 201);
        }
        let proof = proof_of(&server, &claim);
        assert_eq!(proof.status, 200, "{}", proof.text());
        server.claim("last", &merchant_claim("m-1", "0"));
        server.kill();
        heads.push(head("killed.json"));
        let sizes: Vec<u64> = heads
            .iter()
            .map(|head| {
                serde_json::from_slice::<Value>(&std::fs::read(head).unwrap()).unwrap()["size"].as_u64().unwrap()
            })
            .collect();
        assert!(sizes.is_sorted_by(|a, b| a < b) && sizes[0] == 0 && sizes[3] > 300, "{sizes:?}");
        for head in &heads {
            redress.run(&["verify", "--head", head]).succeeds();
        }
        assert_eq!(redress.number("SELECT count(*) FROM log_node"), 1);
        let proof = redress.file("proof.json", &proof.body);
        redress.run(&["audit", "check-proof", &proof]).succeeds();
        Copy::of(redress)
            .tamper("UPDATE log_node SET hash = sha256('x')")
            .names(&[], &["node 0 at level 8 of the log was edited"]);
    });
}

#[test]
fn verify_holds_while_a_batch_runs() {
    Redress::test(|redress| {
        redress.with_incident().with_staff().with_policies(&["melon"]);
        let mut roster = String::from("customer,service,reference,kind,channel\n");
        for number in 0..20_000 {
            roster.push_str(&format!("s-{number:05},melon,sub-{number},subscription,web\n"));
        }
        let roster = redress.file("melon.csv", roster);
        redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
        redress.with_budget("melon", "day:melon", "100000");
        std::thread::scope(|scope| {
            let issued = scope.spawn(|| redress.issue()["issued"].as_u64());
            let mut rounds = 0;
            while !issued.is_finished() || rounds == 0 {
                redress.run(&["verify"]).succeeds();
                rounds += 1;
            }
            assert_eq!(issued.join().unwrap(), Some(20_000));
        });
        assert_eq!(
            redress.number("SELECT count(*) FROM log_leaf WHERE kind = 2"),
            redress.number("SELECT count(*) FROM posting")
        );
    });
}

#[test]
fn the_servers_role_can_only_add_to_the_log() {
    Redress::test(|redress| {
        credited(redress);
        for table in
            ["audit", "transfer", "posting", "posting_total", "posting_seal", "log_leaf", "log_node", "log_head"]
        {
            let column = redress
                .text(&format!("SELECT attname FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum = 2"));
            for statement in [
                format!("UPDATE {table} SET {column} = {column}"),
                format!("DELETE FROM {table}"),
                format!("TRUNCATE {table} CASCADE"),
                format!("DROP TABLE {table} CASCADE"),
                format!("ALTER TABLE {table} DISABLE TRIGGER ALL"),
            ] {
                let refused = redress.sql_as_app(&statement).unwrap_err();
                assert!(
                    refused.contains("permission denied") || refused.contains("must be owner"),
                    "{statement}: {refused}"
                );
            }
        }
    });
}

#[test]
fn the_signing_key_is_never_made_up_in_production() {
    Redress::test(|redress| {
        let master = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
        let run = |signing: Option<&str>| {
            let mut command = redress.command(&["staff", "list", "--production"]);
            command.env("REDRESS_DATA_DIR", redress.folder.path().join("production")).env("REDRESS_MASTER_KEY", master);
            signing.map(|key| command.env("REDRESS_SIGNING_KEY", key));
            Ran::of(command.output().unwrap(), &["staff", "list"])
        };
        run(None).refuses("in production the signing key is never made up: set REDRESS_SIGNING_KEY");
        run(Some("00")).refuses("the signing key has the wrong length");
        run(Some(&"00".repeat(32))).refuses("the signing key is weak");
        run(Some(master)).succeeds();
        redress.run(&["staff", "list"]).succeeds();
        use std::os::unix::fs::PermissionsExt;
        let key = redress.folder.path().join("secrets/signing.key");
        assert_eq!(std::fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
    });
}

#[test]
fn a_command_leaves_the_hashes_of_what_it_changed() {
    Redress::test(|redress| {
        credited(redress);
        let hashes = |action: &str| {
            redress.text(&format!(
                "SELECT string_agg(concat_ws(' ', before_hash IS NOT NULL, after_hash IS NOT NULL), ',' ORDER BY id)
                 FROM audit WHERE action = '{action}'"
            ))
        };
        for (action, expected) in [
            ("incident.load", "t t"),
            ("policy.publish", "f t,f t"),
            ("policy.approve", "t t,t t"),
            ("roster.import", "f t,f t"),
            ("budget.authorise", "f t,f t"),
            ("budget.approve", "t t,t t"),
            ("claim.file", "f t,f t"),
            ("run.done", "t t"),
        ] {
            assert_eq!(hashes(action), expected, "{action}");
        }
        // What one command left is what the next found.
        let chained =
            "SELECT count(*) FROM audit a JOIN audit b ON a.object = b.object AND a.after_hash = b.before_hash
                       WHERE a.action = 'budget.authorise' AND b.action = 'budget.approve'";
        assert_eq!(redress.number(chained), 2);
        redress.run(&["staff", "revoke", "author"]).succeeds();
        let chained =
            "SELECT count(*) FROM audit a JOIN audit b ON a.object = b.object AND a.after_hash = b.before_hash
                       WHERE a.action = 'staff.add' AND b.action = 'staff.revoke'";
        assert_eq!(redress.number(chained), 1);
    });
}

//! The key that signs the log's heads is changed: what was signed before goes on holding, every process follows or says
//! that it cannot, and nobody else can claim to be a key of the log's.

use std::path::Path;

use redress_domain::hex_bytes::HexBytes;
use redress_domain::log::documents::spell;
use redress_domain::log::{EntryDocument, KeyChange, Proof, PublicKey, Signer};
use serde_json::Value;

use super::{Copy, credited, proof_of};
use crate::harness::{Ran, Redress, merchant_claim, wait_until};

/// What the log's newest head was signed by.
fn newest(redress: &Redress) -> String {
    redress.text("SELECT encode(public_key, 'hex') FROM log_head ORDER BY size DESC LIMIT 1")
}

fn export(redress: &Redress, name: &str) -> String {
    let path = redress.folder.path().join(name).display().to_string();
    redress.run(&["audit", "export-head", &path]).succeeds();
    path
}

fn with_admin(redress: &Redress) -> Value {
    let claim = credited(redress);
    redress.run(&["staff", "add", "admin", "--role", "administrator"]).succeeds();
    claim
}

fn rotate(redress: &Redress) -> Value {
    redress.json(&["audit", "rotate-key", "--as", "admin"])
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn heads_and_proofs_of_before_hold_after_the_key_was_changed() {
    Redress::test(|redress| {
        let claim = with_admin(redress);
        let first = export(redress, "first.json");
        let server = redress.serve();
        let before = redress.file("before.json", proof_of(&server, &claim).body);
        redress.run(&["audit", "rotate-key", "--as", "finance"]).refuses("it takes administrator");
        let change = rotate(redress);
        let (old, new) = (change["old"].as_str().unwrap(), change["new"].as_str().unwrap());
        assert_eq!(newest(redress), old, "the key that goes seals its own end");
        // The server, which runs on, follows.
        assert_eq!(server.claim("later", &merchant_claim("m-1", "1000")).status, 201);
        wait_until("the server has sealed by the new key", || newest(redress) == new);
        let after = proof_of(&server, &claim);
        let second = export(redress, "second.json");
        for head in [&first, &second] {
            redress.run(&["verify", "--head", head]).succeeds();
        }
        // The proof of before is the old key's; the new key's only together with the statement.
        let keys = redress.file("keys.json", redress.run(&["audit", "keys"]).succeeds().stdout);
        let check = |file: &str, more: &[&str]| redress.run(&[&["audit", "check-proof", file], more].concat());
        check(&before, &[]).succeeds();
        check(&before, &["--key", old]).succeeds();
        check(&before, &["--key", new]).refuses("not by the key that was asked for");
        check(&before, &["--key", new, "--keys", &keys]).succeeds();
        check(&before, &["--key", &"0".repeat(64), "--keys", &keys]).refuses("not by the key that was asked for");
        // The proof of after has the statement in it, for whoever knows the old key only.
        let shown = redress.file("after.json", &after.body);
        check(&shown, &["--key", new]).succeeds();
        check(&shown, &["--key", old]).succeeds();
        check(&shown, &["--key", &"0".repeat(64)]).refuses("not by the key that was asked for");
        let known: PublicKey = old.parse().unwrap();
        let holds = |bytes: &[u8]| {
            serde_json::from_slice::<Proof>(bytes).is_ok_and(|proof| proof.check(Some(&known), &[]).is_ok())
        };
        assert!(holds(&after.body));
        for place in 0..after.body.len() {
            let mut changed = after.body.clone();
            changed[place] ^= 1;
            assert!(!holds(&changed), "byte {place}: {}", String::from_utf8_lossy(&changed));
        }
        // And once more: the chain is two long, and what came first still holds.
        let next = rotate(redress);
        assert_eq!(next["old"], new);
        redress.run(&["staff", "add", "later", "--role", "agent"]).succeeds();
        assert_eq!(newest(redress), next["new"].as_str().unwrap());
        for head in [&first, &second] {
            redress.run(&["verify", "--head", head]).succeeds();
        }
        let listed: Vec<KeyChange> = serde_json::from_str(&redress.run(&["audit", "keys"]).succeeds().stdout).unwrap();
        assert_eq!(listed.len(), 2);
        // The keys that went are kept for backups of their time, for their owner alone.
        let secrets = redress.folder.path().join("secrets");
        for key in [old, new] {
            assert_eq!(mode(&secrets.join(format!("signing.key.was-{}", &key[..16]))), 0o600);
        }
        assert_eq!((mode(&secrets.join("signing.key")), secrets.join("signing.key.next").exists()), (0o600, false));
        // A key signs the log once in its life.
        let gone = secrets.join(format!("signing.key.was-{}", &old[..16])).display().to_string();
        redress.run(&["audit", "rotate-key", "--new-key-file", &gone, "--as", "admin"]).refuses("make a new one");
        std::fs::remove_file(secrets.join("signing.key.next")).unwrap();
        assert_eq!(redress.number("SELECT count(*) FROM audit WHERE action = 'audit.rotate-key'"), 2);
    });
}

#[test]
fn where_the_key_comes_from_a_variable_the_servers_say_that_they_need_the_new_one() {
    Redress::test(|redress| {
        with_admin(redress);
        let secrets = redress.folder.path().join("secrets");
        let old = std::fs::read_to_string(secrets.join("signing.key")).unwrap();
        std::fs::remove_file(secrets.join("signing.key")).unwrap();
        let fresh = "f0e1d2c3b4a5968778695a4b3c2d1e0f00112233445566778899aabbccddeeff";
        let file = redress.file("new.key", fresh);
        let run = |key: &str, args: &[&str]| {
            let mut command = redress.command(args);
            command.env("REDRESS_SIGNING_KEY", key);
            Ran::of(command.output().unwrap(), args)
        };
        let server = redress.serve_with(&[("REDRESS_SIGNING_KEY", &old)]);
        run(&old, &["audit", "rotate-key", "--as", "admin"]).is_misused("--new-key-file: REDRESS_SIGNING_KEY holds");
        let turn = ["audit", "rotate-key", "--new-key-file", &file, "--as", "admin"];
        run(&old, &turn).refuses("can be read by others");
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let told = run(&old, &turn).succeeds().stdout;
        assert!(told.contains("put the new key into REDRESS_SIGNING_KEY"), "{told}");
        // Who still has the old key works on, seals nothing, and says why.
        let heads = redress.number("SELECT count(*) FROM log_head");
        assert_eq!(server.claim("later", &merchant_claim("m-1", "1000")).status, 201);
        wait_until("the server says so", || server.log().contains("the log's key was changed to"));
        let ran = run(&old, &["staff", "add", "zoe", "--role", "agent"]).succeeds();
        assert!(ran.stderr.contains("put the new key into REDRESS_SIGNING_KEY"), "{}", ran.stderr);
        let ran = run(&old, &["verify"]).fails(1, "");
        assert!(ran.stdout.contains("that is not how this installation came to its key"), "{}", ran.stdout);
        assert_eq!(redress.number("SELECT count(*) FROM log_head"), heads);
        assert_eq!(server.stop(), Some(0));
        run(fresh, &["verify"]).succeeds();
        assert_eq!(redress.number("SELECT count(*) FROM log_head"), heads + 1);
        std::fs::write(secrets.join("signing.key"), fresh).unwrap();
        std::fs::set_permissions(secrets.join("signing.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    });
}

#[test]
fn a_change_that_died_half_way_is_finished_by_the_next_command() {
    Redress::test(|redress| {
        with_admin(redress);
        let secrets = redress.folder.path().join("secrets");
        let kept = |key: &Value| secrets.join(format!("signing.key.was-{}", &key.as_str().unwrap()[..16]));
        let change = rotate(redress);
        // As after a kill between the commit and the new file in its place.
        std::fs::rename(secrets.join("signing.key"), secrets.join("signing.key.next")).unwrap();
        std::fs::rename(kept(&change["old"]), secrets.join("signing.key")).unwrap();
        redress.run(&["staff", "add", "zoe", "--role", "agent"]).succeeds();
        assert_eq!(newest(redress), change["new"].as_str().unwrap());
        assert!(kept(&change["old"]).exists() && !secrets.join("signing.key.next").exists());
        // As after a kill before the commit: the key that was made is the one that is taken.
        let made = "00112233445566778899aabbccddeeff0123456789abcdeffedcba9876543210";
        std::fs::write(secrets.join("signing.key.next"), made).unwrap();
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(secrets.join("signing.key.next"), std::fs::Permissions::from_mode(0o600)).unwrap();
        redress.run(&["verify"]).succeeds();
        rotate(redress);
        assert_eq!(std::fs::read_to_string(secrets.join("signing.key")).unwrap(), made);
        redress.run(&["verify"]).succeeds();
    });
}

#[test]
fn of_many_changes_at_the_same_moment_one_follows_the_other() {
    Redress::test(|redress| {
        with_admin(redress);
        let done: usize = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| redress.run(&["audit", "rotate-key", "--as", "admin"]))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).filter(|ran| ran.code == Some(0)).count()
        });
        assert!(done >= 1);
        let stated = redress.number("SELECT count(*) FROM audit WHERE action = 'audit.rotate-key'");
        assert_eq!(usize::try_from(stated).unwrap(), done);
        redress.run(&["verify"]).succeeds();
    });
}

/// Adds an audit entry by hand, as whoever knows the program can: whole, with its hash.
fn slip_in(copy: &Copy<'_>, change: &KeyChange) {
    let detail = serde_json::to_value(change).unwrap();
    let document = EntryDocument {
        entry: None,
        at: spell("2026-11-27T12:00:00Z".parse().unwrap()),
        actor: "admin".into(),
        origin: "cli:root".into(),
        action: "audit.rotate-key".into(),
        object: "log key".into(),
        detail: detail.clone(),
        before: None,
        after: None,
    };
    let hash = document.content_hash().unwrap();
    copy.tamper(&format!(
        "INSERT INTO audit (at, actor, origin, action, object, detail, hash) VALUES
         ('2026-11-27T12:00:00Z', 'admin', 'cli:root', 'audit.rotate-key', 'log key', '{detail}', '\\x{hash}')"
    ));
}

#[test]
fn a_rewritten_log_with_a_forged_key_is_found() {
    Redress::test(|redress| {
        with_admin(redress);
        let first = export(redress, "first.json");
        let change = rotate(redress);
        let old: PublicKey = change["old"].as_str().unwrap().parse().unwrap();
        let own: PublicKey = change["new"].as_str().unwrap().parse().unwrap();
        let second = export(redress, "second.json");
        let text = "f0e1d2c3b4a5968778695a4b3c2d1e0f00112233445566778899aabbccddeeff";
        let thief = Signer::new(&hex(text));
        let secrets = redress.folder.path().join("secrets");
        // The whole past is rewritten and signed anew by a key of the thief's, who has the database and not our key.
        let rewritten = |statements: &[KeyChange], key: &str| {
            let copy = Copy::of(redress);
            let mine = copy.folder.path().join("secrets/signing.key");
            std::fs::write(&mine, key).unwrap();
            copy.tamper(
                "DELETE FROM log_head; DELETE FROM log_node; DELETE FROM log_leaf;
                 DELETE FROM audit WHERE action IN ('budget.authorise', 'audit.rotate-key')",
            );
            statements.iter().for_each(|statement| slip_in(&copy, statement));
            // As long as the true one, so that nothing seems to be missing.
            for name in ["x-1", "x-2", "x-3", "x-4"] {
                copy.run(&["staff", "add", name, "--role", "agent"]).succeeds();
            }
            std::fs::copy(secrets.join("signing.key"), mine).unwrap();
            copy
        };
        let theirs = thief.public_key();
        let at = || "2026-11-27T12:00:00.000000Z".to_owned();
        let not_ours = format!("is of key {theirs}, not of this installation's");
        rewritten(&[], text).names(&[], &[&not_ours]);
        // A statement that the thief's key became ours, and one that ours became the thief's: each lacks a signature.
        let forged = KeyChange::sign(&thief, &Signer::new(&[9; 32]), at());
        let came = KeyChange { new: own, ..forged.clone() };
        let went = KeyChange { old: own, new: theirs, by_old: HexBytes([7; 64]), ..forged.clone() };
        for statement in [came, went] {
            let copy = rewritten(&[statement], text);
            copy.names(&[], &["without the signatures of both keys", &not_ours]);
            copy.names(&["--head", &second], &["the log was rewritten: its first"]);
        }
        // Keys that are all the thief's own lead nowhere.
        rewritten(&[KeyChange::sign(&Signer::new(&[9; 32]), &thief, at())], text)
            .names(&[], &["that is not how this installation came to its key", &not_ours]);
        // The key that went was stolen: it signs nothing any more, and names nobody.
        let stolen =
            std::fs::read_to_string(secrets.join(format!("signing.key.was-{}", &old.to_string()[..16]))).unwrap();
        let copy = rewritten(&[], &stolen);
        copy.names(&[], &[&format!("is of key {old}, not of this installation's")]);
        copy.names(&["--head", &first], &["the log was rewritten: its first"]);
        // Behind our back it signs one more head of the true log.
        let copy = Copy::of(redress);
        copy.run(&["staff", "add", "x", "--role", "agent"]).succeeds();
        let size = redress.number("SELECT max(size) FROM log_head");
        copy.run(&["verify"]).succeeds();
        let head: (i64, String, String) = (
            copy.number("SELECT max(size) FROM log_head"),
            copy.text("SELECT encode(root, 'hex') FROM log_head ORDER BY size DESC LIMIT 1"),
            at(),
        );
        assert!(head.0 > size);
        let signed =
            Signer::new(&hex(stolen.trim())).sign(u64::try_from(head.0).unwrap(), head.1.parse().unwrap(), head.2);
        copy.tamper(&format!(
            "UPDATE log_head SET public_key = '\\x{}', signature = '\\x{}', at = '{}' WHERE size = {}",
            signed.public_key, signed.signature, signed.at, head.0
        ));
        copy.names(&[], &[&format!("is of key {old}, not of this installation's")]);
    });
}

fn hex(text: &str) -> [u8; 32] {
    *text.parse::<HexBytes<32>>().unwrap().as_bytes()
}

//! Backup and restore: under load, into a fresh folder, with nothing lost that was there and nothing paid twice.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use diesel::connection::SimpleConnection;

use crate::harness::{INCIDENT, Private, Redress, merchant_claim, merchants, wait_until};

const ISSUE: [&str; 3] = ["issue", "--incident", INCIDENT];
/// Merchants who claim while it goes on.
const CLAIMANTS: u32 = 40;
const SUBSCRIBERS: u32 = 20_000;

/// Subscribers who are owed days, and merchants who will claim.
fn prepared(redress: &Redress) {
    redress.with_incident().with_staff().with_policies(&["melon", "kakaotalk-merchant-loss"]);
    redress.with_budget("melon", "day:melon", "100000").with_budget("kakaotalk", "KRW", "100000000");
    let mut roster = String::from("customer,service,reference,kind,channel\n");
    (0..SUBSCRIBERS).for_each(|number| roster.push_str(&format!("s-{number:05},melon,sub,subscription,web\n")));
    let names: Vec<String> = (0..CLAIMANTS).map(|number| format!("m-{number}")).collect();
    let merchants = merchants(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for (name, rows) in [("roster.csv", roster), ("merchants.csv", merchants)] {
        let file = redress.file(name, rows);
        redress.run(&["roster", "import", &file, "--incident", INCIDENT]).succeeds();
    }
}

/// Puts the keys of an installation into another folder.
fn give_keys(from: &Path, to: &Path) {
    std::fs::create_dir(to.join("secrets")).unwrap();
    for key in ["master.key", "signing.key"] {
        std::fs::copy(from.join("secrets").join(key), to.join("secrets").join(key)).unwrap();
    }
}

#[test]
fn a_backup_taken_under_load_restores_whole_and_the_next_run_issues_exactly_what_is_missing() {
    Redress::test(|redress| {
        prepared(redress);
        let server = redress.serve();
        let file = redress.folder.path().join("backup.dump");
        let name = file.display().to_string();
        // The batch is held in its midst, with some chunks done and others under way, and claims keep coming.
        let acknowledged = std::thread::scope(|scope| {
            let hold = || {
                let mut other = redress.owner();
                other.batch_execute("BEGIN; SELECT * FROM budget FOR UPDATE").unwrap();
                other
            };
            let first = hold();
            let run = scope.spawn(|| redress.run(&ISSUE).succeeds());
            wait_until("both workers wait", || redress.waiting_for_locks() == 2);
            // Whoever waits behind them holds the budget when their chunks are done, however fast they are.
            let second = scope.spawn(hold);
            wait_until("the next in the queue waits", || redress.waiting_for_locks() == 3);
            drop(first);
            let mut other = second.join().unwrap();
            assert!(redress.number("SELECT count(*) FROM run_chunk WHERE done_at IS NOT NULL") > 0);
            wait_until("others wait", || redress.waiting_for_locks() > 0);
            let before: Vec<String> = (0..CLAIMANTS / 2).map(|number| claim(&server, number)).collect();
            let coming = scope.spawn(|| (CLAIMANTS / 2..CLAIMANTS).for_each(|number| drop(claim(&server, number))));
            redress.run(&["backup", &name]).succeeds();
            other.batch_execute("ROLLBACK").unwrap();
            coming.join().unwrap();
            run.join().unwrap();
            before
        });
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o077, 0, "only its owner reads it");
        redress.run(&["backup", &name]).refuses("a backup never replaces another");

        let fresh = Private::new();
        fresh.run(&["restore", &name]).refuses("the master key of that time is needed");
        give_keys(redress.folder.path(), fresh.path());
        let text = fresh.run(&["restore", &name]).succeeds().stdout;
        assert!(text.contains("Read it again before you go on: redress verify"), "{text}");
        fresh.run(&["verify"]).succeeds();
        fresh.run(&["restore", &name]).refuses("the database is not empty");
        // Every claim that was answered before the backup began is in it; whoever came later may be.
        for reference in &acknowledged {
            assert_eq!(fresh.number(&format!("SELECT count(*) FROM claim WHERE reference = '{reference}'")), 1);
        }
        let claims = fresh.number("SELECT count(*) FROM claim WHERE state = 'approved'");
        assert!(claims >= i64::from(CLAIMANTS / 2));
        let had = fresh.number("SELECT count(*) FROM transfer WHERE code = 2");
        assert!(had > 0 && had < i64::from(SUBSCRIBERS), "the backup was not taken in the midst of the run: {had}");
        // The run goes on, and one more issues what was granted after its ranges were passed.
        let issued: i64 = (0..2).map(|_| fresh.json(&ISSUE)["issued"].as_i64().unwrap()).sum();
        println!("{had} credits in the backup, {issued} issued after it, {claims} of them for claims");
        assert_eq!(had + issued, i64::from(SUBSCRIBERS) + claims);
        assert_eq!(fresh.json(&ISSUE)["issued"], 0);
        fresh.run(&["verify"]).succeeds();
        let subscribers = "SELECT md5(string_agg(id::text, ' ' ORDER BY customer_id)) FROM transfer
                           WHERE code = 2 AND customer_id LIKE 's-%'";
        let same =
            format!("SELECT count(*) FROM ({subscribers}) AS all_of_them WHERE md5 = '{}'", redress.text(subscribers));
        assert_eq!(fresh.number(&same), 1, "the same credits, id by id, as the installation that went on");
        assert_eq!(redress.issue()["stopped"], serde_json::Value::Null);
        assert_eq!(server.stop(), Some(0));
    });
}

/// Files a claim and returns its reference.
fn claim(server: &crate::harness::Server, number: u32) -> String {
    let answer = server.claim(&format!("key-{number}"), &merchant_claim(&format!("m-{number}"), "1000"));
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["reference"].as_str().unwrap().to_owned()
}

#[test]
fn an_external_database_is_restored_and_wrong_keys_and_a_lost_log_are_said() {
    Redress::test(|redress| {
        prepared(redress);
        let server = redress.serve();
        claim(&server, 0);
        assert_eq!(server.stop(), Some(0));
        let file = redress.folder.path().join("backup.dump").display().to_string();
        redress.json(&["backup", &file]);
        assert_eq!(redress.issue()["issued"], u64::from(SUBSCRIBERS) + 1);
        redress.run(&["verify"]).succeeds();

        // A disaster: the same folder, its keys and the head of its log, and an empty database.
        let empty = Redress::empty();
        give_keys(redress.folder.path(), empty.folder.path());
        std::fs::copy(redress.folder.path().join("log-head.json"), empty.folder.path().join("log-head.json")).unwrap();
        let ran = empty.run(&["restore", &file, "--format", "json"]).fails(1, "");
        let warnings = ran.json()["warnings"].to_string();
        assert!(warnings.contains("what came after the backup is lost"), "{warnings}");
        let kept = ran.json()["head_kept"].as_str().unwrap().to_owned();
        assert!(kept.contains("log-head.json.before-restore-"), "{kept}");
        // The head that was set aside still tells: the log does not continue it.
        empty.run(&["verify"]).succeeds();
        let seen = empty.run(&["verify", "--head", &kept]).fails(1, "").stdout;
        assert!(seen.contains("FAIL the log continues the exported head"), "{seen}");
        assert_eq!(empty.issue()["issued"], u64::from(SUBSCRIBERS) + 1);

        let other_keys = Redress::empty();
        std::fs::create_dir(other_keys.folder.path().join("secrets")).unwrap();
        for (key, text) in [("master.key", "0123456789abcdef"), ("signing.key", "fedcba9876543210")] {
            let path = other_keys.folder.path().join("secrets").join(key);
            let text: String = (0..4).map(|turn| text[turn..].to_owned() + &text[..turn]).collect();
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        let ran = other_keys.run(&["restore", &file]).fails(1, "");
        assert!(ran.stdout.contains("the log was signed by another key"), "{}", ran.stdout);
        assert!(ran.stdout.contains("contact data were sealed by another key"), "{}", ran.stdout);

        let broken = Redress::empty();
        give_keys(redress.folder.path(), broken.folder.path());
        let whole = std::fs::read(&file).unwrap();
        let cut = broken.file("cut.dump", &whole[..whole.len() / 2]);
        broken.run(&["restore", &cut]).refuses("pg_restore failed");
        assert_eq!(
            broken.number("SELECT count(*) FROM pg_class WHERE relname = 'transfer'"),
            0,
            "all of it or nothing"
        );
        broken.run(&["restore", "/nowhere"]).is_misused("/nowhere: there is no such file");
    });
}

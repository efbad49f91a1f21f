//! The secrets of an installation, what production refuses, and what the doctor sees.

use std::os::unix::fs::PermissionsExt;

use crate::harness::{INCIDENT, Private, Ran, Redress, merchant_claim};

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// Runs a command with more environment.
fn run_with(redress: &Redress, environment: &[(&str, &str)], args: &[&str]) -> Ran {
    Ran::of(redress.command(args).envs(environment.iter().copied()).output().unwrap(), args)
}

#[test]
fn a_key_is_made_on_first_use_for_its_owner_alone() {
    Redress::test(|redress| {
        let key = redress.folder.path().join("secrets/master.key");
        // Several first commands at once agree on one key.
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..6).map(|_| scope.spawn(|| redress.run(&["staff", "list"]))).collect();
            all.into_iter().for_each(|one| drop(one.join().unwrap().succeeds()));
        });
        assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        let text = std::fs::read_to_string(&key).unwrap();
        assert_eq!(text.trim().len(), 64);
        assert_eq!(std::fs::read_dir(key.parent().unwrap()).unwrap().count(), 2, "a draft was left behind");
        redress.run(&["staff", "list"]).succeeds();
        assert_eq!(std::fs::read_to_string(&key).unwrap(), text);
        for mode in [0o640, 0o604, 0o660] {
            std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
            redress.run(&["staff", "list"]).refuses(&format!("can be read by others (mode {mode:o}): chmod 600"));
        }
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        for weak in ["", "short", &"0".repeat(64), &"ab".repeat(32), &"zz".repeat(32)] {
            std::fs::write(&key, weak).unwrap();
            redress.run(&["staff", "list"]).refuses("the master key ");
        }
        std::fs::write(&key, text).unwrap();
    });
}

#[test]
fn a_missing_key_of_a_used_installation_is_asked_for_and_never_replaced() {
    Redress::test(|redress| {
        redress.with_incident();
        let secrets = redress.folder.path().join("secrets");
        for name in ["master", "signing"] {
            let (key, away) = (secrets.join(format!("{name}.key")), secrets.join("away"));
            std::fs::rename(&key, &away).unwrap();
            let missing = format!("the {name} key of this installation is missing");
            let back = format!("put it back into {} (mode 600), or set REDRESS_", key.display());
            for args in [&["staff", "list"][..], &["verify"], &["serve", "--listen", "127.0.0.1:0"]] {
                redress.run(args).refuses(&format!("{missing}: {back}"));
            }
            let found = ailments(redress.run(&["doctor", "--format", "json"]));
            assert!(found.iter().any(|line| line.contains(&missing) && line.contains(&back)), "{found:#?}");
            assert!(!key.exists(), "a new {name} key was made");
            std::fs::rename(&away, &key).unwrap();
            redress.run(&["staff", "list"]).succeeds();
        }
    });
}

#[test]
fn keys_of_another_installation_are_told_and_sign_nothing() {
    Redress::test(|redress| {
        redress.with_incident();
        let server = redress.serve();
        assert_eq!(server.claim("key", &merchant_claim("m-1", "1000")).status, 201);
        assert_eq!(server.stop(), Some(0));
        redress.run(&["verify"]).succeeds();
        let key = |name: &str| redress.folder.path().join("secrets").join(name);
        let own = ["master.key", "signing.key"].map(|name| (name, std::fs::read(key(name)).unwrap()));
        let other: String = KEY.chars().rev().collect();
        own.iter().for_each(|(name, _)| std::fs::write(key(name), &other).unwrap());
        let found = ailments(redress.run(&["doctor", "--format", "json"]));
        for (seen, file) in
            [("the log was signed by another key", "signing"), ("contact data were sealed by", "master")]
        {
            let remedy = format!("put the {file}.key of that time in its place");
            assert!(found.iter().any(|line| line.contains(seen) && line.contains(&remedy)), "{found:#?}");
        }
        let seen = redress.run(&["verify"]).fails(1, "the log's heads are signed by key").stdout;
        assert!(seen.contains("FAIL contact data open by this installation's master key"), "{seen}");
        assert!(seen.contains("not of this installation's"), "{seen}");
        let heads = redress.number("SELECT count(*) FROM log_head");
        redress.run(&["staff", "add", "x", "--role", "agent"]).fails(0, "put this installation's signing key back");
        redress.run(&["staff", "add", "root", "--role", "administrator"]).succeeds();
        redress.run(&["audit", "rotate-key", "--as", "root"]).refuses("put this installation's signing key back");
        redress.run(&["audit", "export-head"]).refuses("put this installation's signing key back");
        assert_eq!(redress.number("SELECT count(*) FROM log_head"), heads);
        let server = redress.serve();
        assert!(server.log().contains("contact data were sealed by another key"), "{}", server.log());
        assert_eq!(server.get("/livez", &[]).status, 200);
        assert_eq!(server.stop(), Some(0));
        own.iter().for_each(|(name, text)| std::fs::write(key(name), text).unwrap());
        redress.run(&["verify"]).succeeds();
        assert_eq!(redress.number("SELECT count(*) FROM log_head"), heads + 1);
    });
}

#[test]
fn production_makes_no_key_up_and_takes_no_weak_one() {
    Redress::test(|redress| {
        redress
            .run(&["staff", "list", "--production"])
            .refuses("in production the master key is never made up: set REDRESS_MASTER_KEY");
        for production in ["1", "true"] {
            run_with(redress, &[("REDRESS_PRODUCTION", production)], &["staff", "list"]).refuses("in production");
        }
        assert!(!redress.folder.path().join("secrets").exists());
        let list = ["staff", "list", "--production"];
        for weak in ["secret", &"00".repeat(32), &KEY[..62]] {
            let ran = run_with(redress, &[("REDRESS_MASTER_KEY", weak)], &list).refuses("the master key ");
            assert!(!ran.stderr.contains(weak), "the key is not to be repeated: {}", ran.stderr);
        }
        let signing = ("REDRESS_SIGNING_KEY", KEY);
        run_with(redress, &[("REDRESS_MASTER_KEY", KEY), signing], &list).succeeds();
        let file = redress.file("key", format!("{KEY}\n"));
        run_with(redress, &[("REDRESS_MASTER_KEY_FILE", &file), signing], &list).succeeds();
        run_with(redress, &[("REDRESS_MASTER_KEY_FILE", "/no/such")], &list).refuses("reading /no/such: ");
        // A laptop's mail folder is refused too, for who sends mail.
        for args in [&["notify", "--production"][..], &["serve", "--production", "--listen", "127.0.0.1:0"]] {
            run_with(redress, &[("REDRESS_MASTER_KEY", KEY), signing], args).refuses("set REDRESS_SMTP_URL");
        }
        let demo =
            Ran::of(redress.command(&["demo", "--exit"]).env("REDRESS_MASTER_KEY", KEY).output().unwrap(), &["demo"]);
        demo.refuses("the demo plays in its own private database only");
        run_with(redress, &[("REDRESS_PRODUCTION", "0")], &["staff", "list"]).succeeds();
    });
}

/// The doctor's findings that are not as they should be: `subject: seen → remedy`.
fn ailments(ran: Ran) -> Vec<String> {
    let report = ran.json();
    let bad: Vec<String> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["ok"] == false)
        .map(|finding| {
            let text = |name: &str| finding[name].as_str().unwrap().to_owned();
            format!("{}: {} → {}", text("subject"), text("seen"), text("remedy"))
        })
        .collect();
    assert_eq!(report["healthy"], bad.is_empty());
    assert_eq!(ran.code, Some(i32::from(!bad.is_empty())));
    bad
}

#[test]
fn the_doctor_finds_a_healthy_installation_healthy() {
    let private = Private::new();
    private.run(&["migrate"]).succeeds();
    let seen = private.run(&["doctor"]).succeeds().stdout;
    assert!(seen.lines().all(|line| line.starts_with("ok  ")), "{seen}");
    for subject in
        ["configuration", "data folder", "secrets", "mail", "PostgreSQL", "private server", "durability", "migrations"]
    {
        assert!(seen.contains(&format!("ok   {subject}: ")), "{subject}: {seen}");
    }
    assert!(ailments(private.run(&["doctor", "--format", "json"])).is_empty());
}

#[test]
fn the_doctor_names_what_is_wrong_and_the_remedy() {
    Redress::test_on_empty_database(|redress| {
        let folder = redress.folder.path().to_owned();
        let doctor = |environment: &[(&str, &str)], args: &[&str]| {
            let args: Vec<&str> = ["doctor", "--format", "json"].iter().chain(args).copied().collect();
            ailments(run_with(redress, environment, &args))
        };
        let has = |found: &[String], what: &str, remedy: &str| {
            assert!(
                found.iter().any(|line| line.contains(what) && line.contains(remedy)),
                "{what} … {remedy}: {found:#?}"
            );
        };
        let fresh = doctor(&[], &[]);
        // The tests' server trades durability for speed, and the doctor sees it.
        has(&fresh, "durability: fsync", "set fsync = on");
        has(&fresh, "migrations: ", "redress migrate");
        redress.with_incident().with_staff();
        assert_eq!(doctor(&[], &[]).len(), 1, "only durability is left");
        has(&doctor(&[], &["--production"]), "mail: ", "REDRESS_SMTP_URL");
        has(&doctor(&[("REDRESS_SMTP_URL", "nonsense")], &[]), "mail: REDRESS_SMTP_URL", "smtps://");
        has(&doctor(&[("REDRESS_MASTER_KEY", "weak")], &[]), "secrets: ", "openssl rand -hex 32");
        has(&doctor(&[("REDRESS_POOL_SIZE", "0")], &[]), "configuration: pool_size", "mend");
        has(
            &doctor(&[("REDRESS_DATABASE_URL", "postgresql://127.0.0.1:1/x")], &[]),
            "database: ",
            "mend --database-url",
        );
        has(
            &doctor(&[("REDRESS_DATA_DIR", "/no/such/folder")], &[]),
            "data folder: /no/such/folder does not exist",
            "--data-dir",
        );
        assert!(!std::path::Path::new("/no/such").exists());
        std::fs::write(folder.join("redress.toml"), "pool_size = ").unwrap();
        has(&doctor(&[], &[]), "configuration: ", "mend the file");
        std::fs::remove_file(folder.join("redress.toml")).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
        has(&doctor(&[], &[]), "can be written by others", "chmod go-w");
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
        let key = folder.join("secrets/master.key");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        has(&doctor(&[], &[]), "can be read by others (mode 644)", &format!("→ chmod 600 {}", key.display()));
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        redress.sql(
            "INSERT INTO notice (customer_id, id, claim_id, event, state, next_at, queued_at)
                     VALUES ('c', gen_random_uuid(), gen_random_uuid(), 'received', 'dead', now(), now())",
        );
        has(&doctor(&[], &[]), "notices: 1 could not be sent", "last_error");
        redress.sql(
            "DELETE FROM notice; INSERT INTO run (incident_id, state, scope, started_by, started_at)
                     SELECT id, 'stopped', 'null', 'x', now() FROM incident",
        );
        has(&doctor(&[], &[]), &format!("run: the run of {INCIDENT}"), "redress issue --incident");
        redress.sql("DELETE FROM run");
        assert_eq!(doctor(&[], &[]).len(), 1);
    });
}

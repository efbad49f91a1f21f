//! The command line: exit codes, clear errors, four eyes, secrets and settings.

use diesel::connection::SimpleConnection;

use crate::harness::{INCIDENT, Private, Ran, Redress, merchants, repository};

/// Runs a command with more environment.
fn run_with(redress: &Redress, environment: &[(&str, &str)], args: &[&str]) -> Ran {
    Ran::of(redress.command(args).envs(environment.iter().copied()).output().unwrap(), args)
}

#[test]
fn every_command_has_help_that_names_it_and_usage_errors_exit_with_2() {
    let folder = Private::new();
    let mut open = vec![Vec::<String>::new()];
    let mut seen = 0;
    while let Some(path) = open.pop() {
        let mut args: Vec<&str> = path.iter().map(String::as_str).collect();
        args.push("--help");
        let help = folder.run(&args).succeeds().stdout;
        let usage = help.lines().find(|line| line.starts_with("Usage: ")).unwrap();
        let name = ["redress"].into_iter().chain(path.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
        assert!(usage.starts_with(&format!("Usage: {name}")), "{name}: {usage}");
        assert!(!help.lines().next().unwrap().trim().is_empty(), "{name} says nothing of itself");
        let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
        for line in listed.filter(|line| line.starts_with("  ") && !line.starts_with("   ")) {
            let (command, about) = line.trim().split_once(' ').unwrap();
            assert!(!about.trim().is_empty(), "{name} {command} is not described");
            if command != "help" {
                open.push(path.iter().cloned().chain([command.to_owned()]).collect());
            }
        }
        // A flag nobody knows is a matter of usage everywhere.
        *args.last_mut().unwrap() = "--no-such-flag";
        folder.run(&args).fails(2, "--no-such-flag");
        seen += 1;
    }
    assert!(seen > 20, "{seen} commands");
    folder.run(&["nonsense"]).fails(2, "nonsense");
    folder.run(&["issue"]).fails(2, "--incident");
    folder.run(&["staff", "add", "x", "--role", "emperor"]).fails(2, "emperor");
    folder.run(&["demo", "--customers", "0"]).fails(2, "--customers");
    folder.run(&["issue", "--incident", INCIDENT, "--workers", "0"]).fails(2, "--workers");
    folder.run(&["verify", "--format", "xml"]).fails(2, "xml");
    folder.run(&["ledger", "balance", "owed/", "--at", "yesterday"]).fails(2, "--at");
    let says = "is no time: write it as 2022-10-15T15:30:00+09:00";
    folder.run(&["report", "liability", "--at", "2026-11-22"]).fails(2, says);
    assert!(folder.run(&["--version"]).succeeds().stdout.starts_with("redress "));
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "asking for help leaves nothing behind: {left:?}");
}

#[test]
fn a_database_that_cannot_be_reached_is_one_clear_line_without_its_password() {
    let folder = Private::new();
    let url = "postgresql://redress:hunter2@127.0.0.1:1/redress";
    for args in [&["verify"][..], &["migrate"], &["serve", "--listen", "127.0.0.1:0"], &["staff", "list"]] {
        let args: Vec<&str> = args.iter().copied().chain(["--database-url", url]).collect();
        let ran = folder.run(&args).refuses("the database of --database-url cannot be reached: ");
        assert!(ran.stderr.contains("127.0.0.1") && !ran.stderr.contains("hunter2"), "{}", ran.stderr);
    }
    folder.run(&["verify", "--database-url", ""]).is_misused("--database-url is empty");
    folder.run(&["verify", "--database-url", "nonsense"]).refuses("the database of --database-url cannot be reached: ");
}

#[test]
fn what_is_unknown_is_named() {
    Redress::test(|redress| {
        let budget = |incident: &str, service: &str, asset: &str, amount: &str| {
            let args = ["--incident", incident, "--service", service, "--asset", asset, "--as", "finance"];
            let amount = format!("--amount={amount}");
            redress.run(&["budget", "authorise"].into_iter().chain(args).chain([amount.as_str()]).collect::<Vec<_>>())
        };
        redress.with_staff();
        for args in [&["issue", "--incident", "flood"][..], &["report", "exposure", "--incident", "flood"]] {
            redress.run(args).refuses("there is no incident flood: redress incident load FILE");
        }
        redress.run(&["run", "show", "7"]).refuses("there is no run 7: redress run list");
        redress.run(&["issue", "--incident", "No Such"]).is_misused("--incident: ");
        budget("flood", "melon", "KRW", "1").refuses("there is no incident flood");
        redress.with_incident();
        budget(INCIDENT, "cinema", "KRW", "1").refuses("there is no service cinema");
        for (asset, says) in [("gold", "--asset: "), ("day:", "--asset: "), ("", "--asset: "), ("krw", "--asset: ")] {
            budget(INCIDENT, "melon", asset, "1").is_misused(says);
        }
        for amount in ["0", "-5", "0.5", "1e3", "much", "", "99999999999999999999", "NaN"] {
            budget(INCIDENT, "melon", "KRW", amount).is_misused("--amount");
        }
        redress
            .run(&["issue", "--incident", INCIDENT, "--policy", "page"])
            .refuses("no version of policy page is in force");
        redress
            .run(&["issue", "--incident", INCIDENT, "--as", "nobody"])
            .refuses("\"nobody\" is no active member of staff");
        redress.run(&["ledger", "balance", "gold/"]).refuses("no account is named \"gold/\"");
        redress
            .run(&["ledger", "balance", "owed/", "--at", "2999-01-01T00:00:00Z"])
            .is_misused("--at lies in the future");
        // The same mistake has the same code, whatever the command.
        let file = "no-such.file";
        for args in [
            &["incident", "load", file][..],
            &["policy", "publish", file, "--as", "author"],
            &["policy", "approve", file, "--as", "author"],
            &["policy", "simulate", file, "--roster", file],
            &["roster", "import", file, "--incident", INCIDENT],
            &["claim", "file", file, "--as", "author"],
            &["credit", "deliver", file],
            &["verify", "--head", file],
            &["audit", "check-proof", file],
            &["audit", "rotate-key", "--new-key-file", file, "--as", "author"],
            &["restore", file],
        ] {
            redress.run(args).is_misused("no-such.file: there is no such file");
        }
        for limit in ["run", "credit", "staff"] {
            redress.run(&[limit, "limit", "--asset", "KRW", "--as", "finance"]).is_misused("--amount N, or --none");
            redress.run(&[limit, "limit", "--asset", "krw", "--none", "--as", "finance"]).is_misused("--asset: ");
        }
        for amount in ["--amount=0", "--amount=-1"] {
            let id = "8f2c8f2c-8f2c-8f2c-8f2c-8f2c8f2c8f2c";
            redress
                .run(&["credit", "reverse", id, "--reason", "x", amount, "--as", "finance"])
                .is_misused("--amount: must be above 0");
        }
        redress.run(&["roster", "import", "Cargo.toml", "--incident", INCIDENT]).refuses("a roster is a .csv");
        redress.run(&["serve", "--listen", "nowhere"]).refuses("--listen nowhere: ");
        assert_eq!(redress.number("SELECT count(*) FROM budget_request"), 0);
    });
}

#[test]
fn a_malformed_incident_names_its_place_and_changes_nothing() {
    Redress::test(|redress| {
        redress.with_incident();
        let source = std::fs::read_to_string(repository().join(format!("policies/incidents/{INCIDENT}.toml"))).unwrap();
        let state = "SELECT string_agg(t, ' ') FROM (SELECT incident::text AS t FROM incident UNION ALL
                     SELECT impact::text FROM impact UNION ALL SELECT service::text FROM service) AS rows";
        let before = redress.text(state);
        for (from, to) in [
            ("service = \"melon\"", "service = \"Melon!\""),
            ("from = 2022-10-15T15:30:00+09:00", "from = 2022-10-15T15:30:00"),
            ("severity = \"unavailable\"", "severity = \"gone\""),
            ("organisation", "organization"),
            ("[[service]]", "[[service]"),
            ("title", "titel"),
        ] {
            println!("{from} → {to}");
            let file = redress.file("broken.toml", source.replacen(&format!("\n{from}"), &format!("\n{to}"), 1));
            let stderr = redress.run(&["incident", "load", &file]).refuses(&file).stderr;
            let place = stderr.strip_prefix(&format!("redress: {file}:")).unwrap_or_else(|| panic!("{stderr}"));
            let mut numbers = place.splitn(3, ':').take(2).map(|number| number.parse::<u32>().unwrap());
            assert!(numbers.next().is_some_and(|line| line > 0) && numbers.next().is_some_and(|column| column > 0));
            assert_eq!(redress.text(state), before);
        }
        let file = redress.file("latin1.toml", b"incident = \"\xe9\"\n");
        redress.run(&["incident", "load", &file]).refuses(&file);
        assert_eq!(
            redress.json(&["incident", "load", &format!("policies/incidents/{INCIDENT}.toml")])["changed"],
            false
        );
    });
}

#[test]
fn a_malformed_policy_names_its_place_and_changes_nothing() {
    Redress::test(|redress| {
        redress.with_incident().with_staff();
        let source = std::fs::read_to_string(repository().join("policies/melon.toml")).unwrap();
        for (from, to) in [
            ("holding.kind in", "holding.kindly in"),
            ("derived.last_day <", "derived.last_day <<"),
            ("basis     = \"automatic\"", "basis     = \"sometimes\""),
            ("amount = 3 }", "amount = -3 }"),
            ("[[rule]]", "[[rule]"),
        ] {
            println!("{from} → {to}");
            assert!(source.contains(from));
            let file = redress.file("broken.toml", source.replacen(from, to, 1));
            let stderr = redress.run(&["policy", "publish", &file, "--as", "author"]).fails(1, &file).stderr;
            let named = format!("{file}:");
            let places = stderr.match_indices(&named).filter_map(|(at, found)| {
                let mut numbers = stderr[at + found.len()..].splitn(3, ':').map(str::parse::<u32>);
                Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
            });
            assert!(places.count() > 0, "{from} to {to}: {stderr}");
        }
        let file = redress.file("elsewhere.toml", source.replace(INCIDENT, "flood-2030"));
        redress.run(&["policy", "publish", &file, "--as", "author"]).refuses("there is no incident flood-2030");
        let file = redress.file("elsewhere.toml", source.replace("service   = \"melon\"", "service   = \"cinema\""));
        redress.run(&["policy", "publish", &file, "--as", "author"]).refuses("there is no service cinema");
        assert_eq!(redress.number("SELECT count(*) FROM policy_version"), 0);
        assert_eq!(redress.number("SELECT count(*) FROM policy"), 0);
        assert_eq!(redress.number("SELECT count(*) FROM audit WHERE action = 'policy.publish'"), 0);
    });
}

#[test]
fn cases_that_are_named_are_checked_with_their_policy() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    for name in ["melon.toml", "melon.cases.toml"] {
        std::fs::copy(repository().join("policies").join(name), path(name)).unwrap();
    }
    let private = Private::new();
    let check = || private.run(&["policy", "check", &path("melon.cases.toml")]);
    assert!(check().succeeds().stdout.contains("The cases can be read; redress policy test runs them."));
    std::fs::write(path("melon.cases.toml"), "[[case]]\nname = 1\n").unwrap();
    let ran = check().fails(1, "");
    assert!(ran.stdout.contains("melon.cases.toml:2:") && ran.stdout.contains("1 refused"), "{}", ran.stdout);
}

#[test]
fn a_policy_needs_four_eyes_and_the_database_says_so_too() {
    Redress::test(|redress| {
        redress.with_incident().with_staff();
        redress.run(&["staff", "add", "chief", "--role", "administrator"]).succeeds();
        let publish = |by: &str| redress.run(&["policy", "publish", "policies/melon.toml", "--as", by]);
        let approve = |by: &str| redress.run(&["policy", "approve", "policies/melon.toml", "--as", by]);
        publish("finance").refuses("finance is finance and may not do this; it takes policy_author or administrator");
        publish("nobody").refuses("\"nobody\" is no active member of staff");
        approve("approver").refuses("there is no published version");
        publish("chief").succeeds();
        publish("author").refuses("this version is published already and waits for a second person");
        approve("chief").refuses("whoever asked for it may not approve it");
        approve("author").refuses("may not do this");
        assert_eq!(redress.number("SELECT count(*) FROM policy_version WHERE approved_at IS NOT NULL"), 0);
        for by in ["published_by", "'approver', approved_at = NULL"] {
            let change = format!("UPDATE policy_version SET approved_at = now(), approved_by = {by}");
            let change = change.replace("approved_at = now(), approved_by = 'approver'", "approved_by = 'approver'");
            let refused = redress.owner().batch_execute(&change).unwrap_err().to_string();
            assert!(refused.contains("policy_version_"), "{change}: {refused}");
        }
        redress.run(&["staff", "revoke", "approver"]).succeeds();
        let refused = approve("approver").refuses("no active member of staff: revoked on 2");
        assert!(refused.stderr.contains("redress staff add ANOTHER --role policy_approver"), "{}", refused.stderr);
        redress.run(&["staff", "add", "approver-2", "--role", "policy_approver"]).succeeds();
        approve("approver-2").succeeds();
        approve("approver-2").refuses("this version of melon was approved before and is in force");
        publish("author").refuses("published already and is in force");
        // A version that was replaced comes back as a new one.
        let newer = std::fs::read_to_string(repository().join("policies/melon.toml")).unwrap() + "# newer\n";
        let newer = redress.file("newer.toml", newer);
        redress.run(&["policy", "publish", &newer, "--as", "author"]).succeeds();
        redress.run(&["policy", "approve", &newer, "--as", "approver-2"]).succeeds();
        for refused in [publish("author"), approve("approver-2")] {
            let refused = refused.refuses("and is out of force since 2").stderr;
            assert!(refused.contains("change the file, if only by a comment"), "{refused}");
        }
        // Each is in the log, with the name and the machine's user.
        let log = redress.text(
            "SELECT string_agg(actor || ' ' || action, ', ' ORDER BY id) FROM audit WHERE action LIKE 'policy.%'",
        );
        let newer = "author policy.publish, approver-2 policy.approve";
        assert_eq!(log, format!("chief policy.publish, approver-2 policy.approve, {newer}"));
        assert_eq!(redress.number("SELECT count(*) FROM audit WHERE origin NOT LIKE 'cli:_%'"), 0);
    });
}

#[test]
fn a_budget_needs_four_eyes_and_the_database_says_so_too() {
    Redress::test(|redress| {
        redress.with_incident().with_staff();
        let budget = |verb: &str, amount: &str, by: &str| {
            let args = ["--incident", INCIDENT, "--service", "melon", "--asset", "KRW", "--amount", amount, "--as", by];
            redress.run(&["budget", verb].into_iter().chain(args).collect::<Vec<_>>())
        };
        budget("authorise", "1_000", "author").refuses("may not do this");
        budget("approve", "1000", "finance-2").refuses("nobody has authorised 1000 KRW for melon");
        budget("authorise", "1_000", "finance").succeeds();
        budget("approve", "1000", "finance").refuses("whoever asked for it may not approve it");
        budget("approve", "999", "finance-2").refuses("nobody has authorised 999 KRW");
        assert_eq!(redress.number("SELECT approved FROM budget"), 0);
        let change = "UPDATE budget_request SET approved_at = now(), approved_by = authorised_by";
        let refused = redress.owner().batch_execute(change).unwrap_err().to_string();
        assert!(refused.contains("budget_request_four_eyes"), "{refused}");
        // Each may ask for the same: then each approves the other's.
        budget("authorise", "1000", "finance-2").succeeds();
        budget("approve", "1000", "finance").succeeds();
        budget("approve", "1000", "finance-2").succeeds();
        budget("approve", "1000", "finance-2").refuses("nobody has authorised");
        assert_eq!(redress.number("SELECT approved FROM budget"), 2000);
        assert_eq!(redress.number("SELECT sum(amount) FROM transfer WHERE code = 1"), 2000);
    });
}

#[test]
fn staff_names_are_never_used_twice() {
    Redress::test(|redress| {
        redress.run(&["staff", "add", "mina", "--role", "agent"]).succeeds();
        redress.run(&["staff", "add", "mina", "--role", "finance"]).refuses("the name \"mina\" is taken");
        redress.run(&["staff", "revoke", "mina"]).succeeds();
        redress.run(&["staff", "revoke", "mina"]).refuses("no active member of staff \"mina\"");
        redress.run(&["staff", "add", "mina", "--role", "agent"]).refuses("is taken");
        redress.run(&["staff", "add", "a b", "--role", "agent"]).refuses("staff name");
        let list = redress.json(&["staff", "list"]);
        assert_eq!((list[0]["name"].as_str(), list[0]["role"].as_str()), (Some("mina"), Some("agent")));
        assert!(list[0]["revoked_at"].is_string() && list.as_array().unwrap().len() == 1, "{list}");
        assert!(redress.run(&["staff", "list"]).succeeds().stdout.contains("revoked"));
    });
}

#[test]
fn migrations_are_planned_without_a_change_and_applied_once_by_whoever_comes_first() {
    Redress::test_on_empty_database(|redress| {
        let relations = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
        let plan = redress.json(&["migrate", "--plan"]);
        let names = plan["migrations"].as_array().unwrap().clone();
        assert!(!names.is_empty() && plan["plan"] == true, "{plan}");
        assert!(redress.run(&["migrate", "--plan"]).succeeds().stdout.starts_with("would apply "));
        assert_eq!(redress.number(relations), 0);
        let applied: Vec<usize> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..4).map(|_| scope.spawn(|| redress.json(&["migrate"]))).collect();
            all.into_iter().map(|one| one.join().unwrap()["migrations"].as_array().unwrap().len()).collect()
        });
        assert_eq!(applied.iter().sum::<usize>(), names.len(), "{applied:?}");
        assert!(redress.run(&["migrate"]).succeeds().stdout.contains("up to date"));
        assert_eq!(redress.json(&["migrate", "--plan"])["migrations"].as_array().unwrap().len(), 0);
    });
}

#[test]
fn a_balance_can_be_asked_for_as_it_stood() {
    Redress::test(|redress| {
        redress.with_incident().with_staff();
        redress.with_budget("melon", "KRW", "1000");
        let account = format!("provision/{INCIDENT}/melon/KRW");
        let between =
            redress.text("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.USZ')");
        redress.with_budget("melon", "KRW", "2500");
        let at = |more: &[&str]| {
            let args: Vec<&str> = ["ledger", "balance", account.as_str()].iter().chain(more).copied().collect();
            redress.json(&args)["balances"][0]["balance"].as_str().unwrap().to_owned()
        };
        assert_eq!(at(&[]), "3500");
        assert_eq!(at(&["--at", &between]), "1000");
        assert_eq!(at(&["--at", "2022-10-15T15:30:00+09:00"]), "0");
        let all = redress.json(&["ledger", "balance", ""]);
        let sum: i64 = all["balances"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["balance"].as_str().unwrap().replace(',', "").parse::<i64>().unwrap())
            .sum();
        assert_eq!((sum, all["balances"].as_array().unwrap().len()), (0, 3), "{all}");
    });
}

#[test]
fn json_is_one_document_on_stdout() {
    Redress::test(|redress| {
        redress.with_staff();
        let incident = format!("policies/incidents/{INCIDENT}.toml");
        let roster = redress.file("r.csv", merchants(&["m-1"]));
        let budget = ["--incident", INCIDENT, "--service", "melon", "--asset", "day:melon", "--amount", "5"];
        let with = |verb: &'static str, by: &'static str| -> Vec<&str> {
            ["budget", verb].into_iter().chain(budget).chain(["--as", by]).collect()
        };
        for args in [
            vec!["incident", "load", &incident],
            vec!["policy", "publish", "policies/melon.toml", "--as", "author"],
            vec!["policy", "approve", "policies/melon.toml", "--as", "approver"],
            vec!["roster", "import", &roster, "--incident", INCIDENT],
            with("authorise", "finance"),
            with("approve", "finance-2"),
            vec!["issue", "--incident", INCIDENT, "--dry-run"],
            vec!["issue", "--incident", INCIDENT],
            vec!["notify"],
            vec!["ledger", "balance", "owed/"],
            vec!["report", "exposure"],
            vec!["staff", "add", "x", "--role", "agent"],
            vec!["staff", "list"],
            vec!["staff", "revoke", "x"],
            vec!["migrate"],
            vec!["migrate", "--plan"],
            vec!["verify"],
        ] {
            redress.json(&args);
        }
        // Where the answer is no, it is still one document.
        let bad = redress.file("bad.csv", merchants(&["m-1", "bad one"]));
        let bad = ["roster", "import", &bad, "--incident", INCIDENT, "--format", "json"];
        assert_eq!(redress.run(&bad).fails(1, "").json()["refused"], 1);
        assert_eq!(redress.run(&["doctor", "--format", "json"]).fails(1, "").json()["healthy"], false);
        let as_variable = run_with(redress, &[("REDRESS_FORMAT", "json")], &["verify"]);
        assert_eq!(as_variable.succeeds().json()["holds"], true);
    });
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    Redress::test(|redress| {
        let mut command = redress.command(&["staff", "list"]);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ran = Ran::of(command.stdout(writer).output().unwrap(), &["staff", "list"]);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
        // Nor is it where stderr goes there too, or is all that is closed.
        for args in [&["verify"][..], &["ledger", "export"], &["ledger", "balance", "nonsense/"], &["no-such"]] {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            let mut command = redress.command(args);
            let ended = command.stdout(writer.try_clone().unwrap()).stderr(writer).status().unwrap();
            assert!(matches!(ended.code(), Some(0..=2)), "{args:?}: {ended}");
        }
        // A full disk is an error: what was to be kept is not there.
        let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ran = Ran::of(redress.command(&["staff", "list"]).stdout(full()).output().unwrap(), &["staff", "list"]);
        ran.fails(1, "what was to be printed was lost: No space left on device");
    });
}

#[test]
fn a_mistyped_data_folder_is_named_and_nothing_begins_in_it() {
    let folder = Private::new();
    let (mistyped, file) = (folder.path().join("mistyped"), folder.path().join("file").display().to_string());
    let name = mistyped.display().to_string();
    for args in [
        &["verify"][..],
        &["backup", &file],
        &["deliver"],
        &["notify"],
        &["audit", "export-head"],
        &["ledger", "balance", ""],
        &["report", "exposure"],
        &["run", "list"],
        &["credit", "corrections"],
        &["webhook", "list"],
        &["staff", "list"],
        &["issue", "--incident", INCIDENT],
        &["migrate", "--plan"],
    ] {
        let args: Vec<&str> = args.iter().copied().chain(["--data-dir", &name]).collect();
        folder.run(&args).is_misused(&format!("{name} does not exist; name the right folder with --data-dir"));
        assert!(!mistyped.exists());
        let args = &args[..args.len() - 2];
        folder.run(args).is_misused("holds no installation; name the right folder with --data-dir");
    }
    folder.run(&["doctor"]).fails(1, "").stdout.find("holds no installation").unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "something was begun");
}

#[test]
fn a_flag_wins_over_a_variable_over_the_file() {
    let folder = Private::new();
    let url = |port: u16| format!("postgresql://127.0.0.1:{port}/x");
    std::fs::write(folder.path().join("redress.toml"), format!("database_url = \"{}\"\n", url(1))).unwrap();
    let secret = folder.path().join("url");
    std::fs::write(&secret, format!("{}\n", url(2))).unwrap();
    let try_with = |variable: Option<(&str, String)>, args: &[&str], port: u16| {
        let args: Vec<&str> = ["staff", "list"].iter().chain(args).copied().collect();
        let ran = Ran::of(folder.command(&args).envs(variable).output().unwrap(), &args);
        ran.refuses(&format!("port {port} failed"));
    };
    try_with(None, &[], 1);
    try_with(Some(("REDRESS_DATABASE_URL_FILE", secret.display().to_string())), &[], 2);
    try_with(Some(("REDRESS_DATABASE_URL", url(3))), &[], 3);
    try_with(Some(("REDRESS_DATABASE_URL", url(3))), &["--database-url", &url(4)], 4);
    try_with(None, &["--database-url-file", secret.to_str().unwrap()], 2);
    for (text, says) in
        [("pool_size = \"many\"", ":1:13: "), ("databaseurl = \"x\"", ":1:1: "), ("listen = ", ":1:10: ")]
    {
        std::fs::write(folder.path().join("redress.toml"), text).unwrap();
        folder.run(&["staff", "list"]).refuses(&format!("redress.toml{says}"));
    }
    std::fs::write(folder.path().join("redress.toml"), "pool_size = 1\n").unwrap();
    folder.run(&["staff", "list"]).refuses("pool_size must be from 4 to 500");
}

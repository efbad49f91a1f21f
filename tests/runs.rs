//! The life of a run: planned, approved by a second person, halted, gone on with, ended.

mod exceptions;

use std::process::Stdio;

use diesel::connection::SimpleConnection;
use serde_json::Value;

use crate::harness::{INCIDENT, Ran, Redress, wait_until};

/// Subscribers of Melon, each owed three days.
fn with_subscribers(redress: &Redress, count: u32) {
    let mut roster = String::from("customer,service,reference,kind,channel\n");
    (0..count).for_each(|number| roster.push_str(&format!("s-{number:06},melon,sub,subscription,web\n")));
    let roster = redress.file("roster.csv", roster);
    redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
}

/// An installation that owes three days to each of so many, has the budget, and takes a second person above `limit`.
fn prepared(redress: &Redress, count: u32, limit: &str) {
    redress.with_incident().with_staff().with_policies(&["melon"]).with_budget("melon", "day:melon", "100000");
    redress.run(&["staff", "add", "admin", "--role", "administrator"]).succeeds();
    with_subscribers(redress, count);
    redress.run(&["run", "limit", "--asset", "day:melon", "--amount", limit, "--as", "admin"]).succeeds();
}

fn issue(redress: &Redress, more: &[&str]) -> Ran {
    let args: Vec<&str> =
        ["issue", "--incident", INCIDENT, "--format", "json"].into_iter().chain(more.iter().copied()).collect();
    redress.run(&args)
}

/// Issues with one worker while somebody does something that waits for the first chunk, and so comes before the second.
pub(crate) fn meanwhile(redress: &Redress, more: &[&str], act: impl Fn() + Send) -> Ran {
    std::thread::scope(|scope| {
        // The chunk is held just before its end.
        let mut other = redress.owner();
        other.batch_execute("BEGIN; SELECT * FROM budget FOR UPDATE").unwrap();
        let run = scope.spawn(|| issue(redress, &[&["--workers", "1"], more].concat()));
        wait_until("the run waits", || redress.waiting_for_locks() == 1);
        let act = scope.spawn(act);
        wait_until("the act waits", || redress.waiting_for_locks() == 2);
        assert_eq!(redress.number("SELECT count(*) FROM run_chunk WHERE done_at IS NOT NULL"), 0);
        other.batch_execute("ROLLBACK").unwrap();
        act.join().unwrap();
        run.join().unwrap()
    })
}

/// Opens a run that waits, and returns its number and its plan.
fn waiting(redress: &Redress) -> (String, String) {
    let report = issue(redress, &["--as", "finance"]).fails(1, "").json();
    assert_eq!((report["state"].as_str(), report["issued"].as_u64()), (Some("planned"), Some(0)), "{report}");
    (report["run"].to_string(), report["plan"].as_str().unwrap().to_owned())
}

fn approve(redress: &Redress, run: &str, plan: &str, by: &str) -> Ran {
    redress.run(&["run", "approve", run, "--plan", plan, "--as", by])
}

const INCIDENT_FILE: &str = "policies/incidents/kakao-2022-10-15.toml";

fn state(redress: &Redress) -> String {
    redress.text("SELECT coalesce(string_agg(state, ' ' ORDER BY id), '') FROM run")
}

fn issued(redress: &Redress) -> i64 {
    redress.number("SELECT count(*) FROM transfer WHERE code = 2")
}

#[test]
fn a_run_above_the_limit_waits_for_a_second_person_who_has_seen_its_plan() {
    Redress::test(|redress| {
        prepared(redress, 10, "29");
        let dry = redress.json(&["issue", "--incident", INCIDENT, "--dry-run"]);
        issue(redress, &[]).refuses("above the limit of day:melon, so a second person has to approve it");
        let (run, plan) = waiting(redress);
        assert_eq!(dry["plan"], plan.as_str(), "what a dry run shows is what is approved");
        // Asking again neither issues nor plans anew, and says who must approve, and how.
        let text = redress.run(&["issue", "--incident", INCIDENT, "--as", "finance"]).fails(1, "").stdout;
        assert!(text.contains("WAITS FOR APPROVAL: run 1 would issue 30 day:melon (limit 29)"), "{text}");
        assert!(text.contains(&format!("redress run approve 1 --plan {} --as NAME", &plan[..16])), "{text}");
        assert!(text.contains("would issue  left in budget"), "{text}");
        assert!(text.contains("Nothing is issued yet: 10 credits wait for approval."), "{text}");
        for args in [&["run", "list"][..], &["run", "show", &run]] {
            let text = redress.run(args).succeeds().stdout;
            let how = format!(
                "waits for somebody other than finance: redress run approve 1 --plan {} --as NAME",
                &plan[..16]
            );
            assert!(text.contains(&how), "{text}");
        }
        // Where the limit was lifted meanwhile, it waits all the same, since it was planned to.
        redress.run(&["run", "limit", "--asset", "day:melon", "--none", "--as", "admin"]).succeeds();
        let text = redress.run(&["issue", "--incident", INCIDENT, "--as", "finance"]).fails(1, "").stdout;
        assert!(text.contains("WAITS FOR APPROVAL: run 1 waits for somebody other than finance"), "{text}");
        redress.run(&["run", "limit", "--asset", "day:melon", "--amount", "29", "--as", "admin"]).succeeds();
        approve(redress, &run, &plan, "finance").refuses("a second person has to");
        approve(redress, &run, &plan, "approver").refuses("may not do this");
        approve(redress, &run, &plan[..15], "finance-2").refuses("that is not the plan of run 1");
        approve(redress, &run, &"0".repeat(64), "finance-2").refuses("that is not the plan of run 1");
        redress.run(&["run", "pause", &run, "--as", "finance"]).refuses("is planned, so it cannot be paused");
        redress.run(&["run", "resume", &run, "--as", "finance"]).refuses("is planned, so it cannot be resumed");
        assert_eq!((state(redress).as_str(), issued(redress)), ("planned", 0));
        approve(redress, &run, &plan[..16], "finance-2").succeeds();
        approve(redress, &run, &plan, "finance-2").refuses("is approved; there is nothing to approve");
        let done = issue(redress, &["--as", "finance"]).succeeds().json();
        assert_eq!((done["issued"].as_u64(), done["state"].as_str()), (Some(10), Some("done")), "{done}");
        // What is left is nothing, which is below every limit.
        assert_eq!(issue(redress, &[]).succeeds().json()["issued"], 0);
        assert_eq!(
            redress.text("SELECT string_agg(action, ' ' ORDER BY id) FROM audit WHERE object = 'run 1'"),
            "run.open run.approve run.begin run.done"
        );
    });
}

#[test]
fn an_approved_run_stops_where_a_version_that_nobody_approved_it_with_comes_into_force() {
    Redress::test(|redress| {
        prepared(redress, 25_000, "0");
        let source = std::fs::read_to_string(crate::harness::repository().join("policies/melon.toml")).unwrap();
        let changed = redress.file("melon.toml", source.replace("amount = 3 }", "amount = 4 }"));
        redress.run(&["policy", "publish", &changed, "--as", "author"]).succeeds();
        let (run, plan) = waiting(redress);
        approve(redress, &run, &plan, "finance-2").succeeds();
        let ran = meanwhile(redress, &["--as", "finance"], || {
            redress.run(&["policy", "approve", &changed, "--as", "approver"]).succeeds();
        });
        let report = ran.fails(1, "").json();
        let why = format!("the policies in force changed after run {run} was approved");
        assert!(report["stopped"].as_str().is_some_and(|stopped| stopped.contains(&why)), "{report}");
        assert_eq!((state(redress).as_str(), report["state"].as_str()), ("stopped", Some("stopped")));
        let before = issued(redress);
        assert!((1..25_000).contains(&before), "{before} were issued");
        issue(redress, &["--as", "finance"]).refuses(&why);
        assert_eq!(issued(redress), before);
    });
}

fn retire_melon(redress: &Redress) {
    redress.run(&["policy", "retire", "melon", "--incident", INCIDENT, "--as", "approver"]).succeeds();
}

#[test]
fn a_policy_that_is_retired_while_a_run_goes_on_grants_nothing_in_the_chunks_that_are_left() {
    Redress::test(|redress| {
        prepared(redress, 25_000, "100000");
        let report = meanwhile(redress, &[], || retire_melon(redress)).succeeds().json();
        assert_eq!(report["state"], "done", "{report}");
        let issued = issued(redress);
        assert!((1..25_000).contains(&issued), "{issued} were issued: the first chunk's");
        assert_eq!(report["issued"], issued);
        redress.run(&["verify"]).succeeds();
    });
}

#[test]
fn a_run_for_one_policy_stops_where_that_policy_is_retired() {
    Redress::test(|redress| {
        prepared(redress, 25_000, "100000");
        let report = meanwhile(redress, &["--policy", "melon"], || retire_melon(redress)).fails(1, "").json();
        let why = "no version of policy melon is in force";
        assert!(report["stopped"].as_str().is_some_and(|stopped| stopped.contains(why)), "{report}");
        assert_eq!((state(redress).as_str(), report["state"].as_str()), ("stopped", Some("stopped")));
        let before = issued(redress);
        assert!((1..25_000).contains(&before), "{before} were issued: the first chunk's");
        redress.run(&["run", "cancel", "1", "--as", "finance"]).succeeds();
        assert_eq!(issue(redress, &[]).succeeds().json()["issued"], 0);
        let text = redress.run(&["issue", "--incident", INCIDENT]).succeeds().stdout;
        assert!(text.contains("No policy in force applies to anything"), "{text}");
        redress.run(&["verify"]).succeeds();
    });
}

#[test]
fn an_approval_is_void_when_policies_rosters_or_budgets_change() {
    Redress::test(|redress| {
        prepared(redress, 10, "0");
        let source = std::fs::read_to_string(crate::harness::repository().join("policies/melon.toml")).unwrap();
        let changed = redress.file("melon.toml", source.replace("amount = 3 }", "amount = 4 }"));
        let changes: [(&str, &dyn Fn()); 4] = [
            ("the incident's windows", &|| {
                let source = std::fs::read_to_string(crate::harness::repository().join(INCIDENT_FILE)).unwrap();
                let corrected = redress.file("incident.toml", source.replace("08:30:00", "08:31:00"));
                redress.run(&["incident", "load", &corrected]).succeeds();
            }),
            ("the roster", &|| with_subscribers(redress, 11)),
            ("the budgets", &|| {
                redress.with_budget("melon", "day:melon", "1");
            }),
            ("the policies in force", &|| {
                redress.run(&["policy", "publish", &changed, "--as", "author"]).succeeds();
                redress.run(&["policy", "approve", &changed, "--as", "approver"]).succeeds();
            }),
        ];
        for (what, change) in changes {
            // Before the approval: nobody can approve what is no longer so.
            let (run, plan) = waiting(redress);
            change();
            approve(redress, &run, &plan, "finance-2").refuses(&format!("{what} changed after run {run} was planned"));
            let (next, anew) = waiting(redress);
            assert_ne!((&run, &plan), (&next, &anew));
            assert_eq!(
                redress.text(&format!("SELECT note FROM run WHERE id = {run}")),
                format!("{what} changed after it was planned")
            );
            redress.run(&["run", "cancel", &next, "--as", "finance"]).succeeds();
        }
        // After the approval, before it began: the same.
        let (run, plan) = waiting(redress);
        approve(redress, &run, &plan, "finance-2").succeeds();
        with_subscribers(redress, 12);
        let (next, plan) = waiting(redress);
        assert_ne!(run, next);
        approve(redress, &next, &plan, "finance-2").succeeds();
        assert_eq!(issue(redress, &["--as", "finance"]).succeeds().json()["issued"], 12);
        assert_eq!(redress.number("SELECT sum(amount) FROM transfer WHERE code = 2"), 48);
    });
}

#[test]
fn the_database_holds_four_eyes_and_the_allowance_for_whoever_asks() {
    Redress::test(|redress| {
        prepared(redress, 10, "29");
        let (run, plan) = waiting(redress);
        for (statement, constraint) in [
            ("SET approved_by = 'finance', approved_at = now()", "run_four_eyes"),
            ("SET state = 'running'", "run_waits_for_approval"),
            ("SET state = 'done'", "run_waits_for_approval"),
        ] {
            let refused = redress.sql_as_app(&format!("UPDATE run {statement}")).unwrap_err();
            assert!(refused.contains(constraint), "{statement}: {refused}");
        }
        for statement in
            ["SET started_by = 'x'", "SET plan_hash = 'x'", "SET plan = '{}'", "SET needs_approval = false"]
        {
            let refused = redress.sql_as_app(&format!("UPDATE run {statement}")).unwrap_err();
            assert!(refused.contains("permission denied"), "{statement}: {refused}");
        }
        approve(redress, &run, &plan, "finance-2").succeeds();
        assert!(redress.sql_as_app("UPDATE run_allowance SET most = 31").unwrap_err().contains("permission denied"));
        let refused = redress.sql_as_app("UPDATE run_allowance SET issued = most + 1").unwrap_err();
        assert!(refused.contains("run_within_allowance"), "{refused}");
        // Records that the plan has not seen, by a way that leaves no trace in it: the total holds all the same.
        redress.sql(
            "INSERT INTO holding SELECT roster_id, incident_id, service_id, 't-1', reference, facts FROM holding LIMIT 1",
        );
        let stopped = issue(redress, &["--as", "finance"]).fails(1, "").json();
        assert!(stopped["stopped"].as_str().unwrap().contains("would issue more than it may"), "{stopped}");
        assert_eq!((stopped["state"].as_str(), issued(redress)), (Some("stopped"), 0));
        redress.run(&["run", "cancel", &run, "--as", "finance"]).succeeds();
        // Verification reads it again.
        redress.sql("UPDATE run_allowance SET issued = 1 WHERE most > 0");
        assert!(redress.run(&["verify"]).fails(1, "").stdout.contains("FAIL every run issued what its allowance says"));
        redress.sql("UPDATE run_allowance SET issued = 0");
        redress
            .run(&["run", "limit", "--asset", "day:melon", "--none", "--as", "finance"])
            .refuses("it takes administrator");
        redress.run(&["run", "limit", "--asset", "day:melon", "--none", "--as", "admin"]).succeeds();
        assert_eq!(issue(redress, &[]).succeeds().json()["issued"], 11);
    });
}

#[test]
fn a_paused_run_halts_in_every_process_at_its_next_chunk_and_goes_on_when_it_is_resumed() {
    Redress::test(|redress| {
        redress.with_incident().with_staff().with_policies(&["melon"]).with_budget("melon", "day:melon", "100000");
        with_subscribers(redress, 30_000);
        let reports: Vec<Value> = std::thread::scope(|scope| {
            // Whoever holds the budget's row holds every chunk at its end.
            let mut other = redress.owner();
            other.batch_execute("BEGIN; SELECT * FROM budget FOR UPDATE").unwrap();
            let both: Vec<_> =
                (0..2).map(|_| scope.spawn(|| issue(redress, &["--workers", "1"]).fails(1, "").json())).collect();
            wait_until("both are at a chunk", || redress.waiting_for_locks() == 2);
            redress.run(&["run", "pause", "1", "--as", "finance"]).succeeds();
            other.batch_execute("ROLLBACK").unwrap();
            both.into_iter().map(|process| process.join().unwrap()).collect()
        });
        for report in &reports {
            assert_eq!(report["state"], "paused", "{report}");
            assert!(report["stopped"].as_str().unwrap().contains("run 1 is paused: paused by finance"), "{report}");
        }
        let done = redress.number("SELECT count(*) FROM run_chunk WHERE done_at IS NOT NULL");
        assert_eq!(done, 2, "each ended the chunk it was at, and took no other");
        issue(redress, &[]).refuses("redress run resume 1 --as NAME goes on");
        let shown = redress.json(&["run", "show", "1"]);
        assert_eq!(shown["run"]["progress"]["issued"], issued(redress), "{shown}");
        let rest = redress.json(&["run", "resume", "1", "--as", "finance-2"]);
        assert_eq!((rest["state"].as_str(), rest["resumed"].as_bool()), (Some("done"), Some(true)), "{rest}");
        assert_eq!(issued(redress), 30_000);
        redress.run(&["run", "pause", "1", "--as", "finance"]).refuses("is done, so it cannot be paused");
        redress.run(&["run", "show", "2"]).refuses("there is no run 2");
    });
}

#[test]
fn a_cancelled_run_leaves_what_it_issued_and_the_next_issues_the_rest() {
    Redress::test(|redress| {
        redress.with_incident().with_staff().with_policies(&["melon"]).with_budget("melon", "day:melon", "100000");
        with_subscribers(redress, 12_000);
        let report = std::thread::scope(|scope| {
            let mut other = redress.owner();
            other.batch_execute("BEGIN; SELECT * FROM budget FOR UPDATE").unwrap();
            let run = scope.spawn(|| issue(redress, &["--workers", "1"]).fails(1, "").json());
            wait_until("it is at a chunk", || redress.waiting_for_locks() == 1);
            redress.run(&["run", "cancel", "1", "--as", "finance"]).succeeds();
            other.batch_execute("ROLLBACK").unwrap();
            run.join().unwrap()
        });
        assert_eq!(report["state"], "cancelled", "{report}");
        let first = issued(redress);
        assert!(first > 0 && first < 12_000, "{first}");
        redress.run(&["run", "resume", "1", "--as", "finance"]).refuses("is cancelled, so it cannot be resumed");
        assert_eq!(redress.issue()["issued"], 12_000 - first);
        assert_eq!(state(redress), "cancelled done");
        let list = redress.run(&["run", "list"]).succeeds().stdout;
        assert!(list.contains("cancelled by finance"), "{list}");
    });
}

#[test]
fn a_run_of_the_servers_survives_the_server() {
    Redress::test(|redress| {
        redress.with_incident().with_staff().with_policies(&["melon"]).with_budget("melon", "day:melon", "100000");
        with_subscribers(redress, 12_000);
        let mut other = redress.owner();
        other.batch_execute("BEGIN; SELECT * FROM budget FOR UPDATE").unwrap();
        let mut run = redress.command(&["issue", "--incident", INCIDENT]).stderr(Stdio::null()).spawn().unwrap();
        wait_until("the run is open", || redress.number("SELECT count(*) FROM run") == 1);
        run.kill().unwrap();
        run.wait().unwrap();
        // Handed over to the servers, as POST /v1/runs does; the first is killed in the midst of it.
        redress.sql("UPDATE run SET served = true");
        let server = redress.serve();
        wait_until("the server is at it", || redress.waiting_for_locks() > 0);
        server.kill();
        other.batch_execute("ROLLBACK").unwrap();
        let server = redress.serve();
        wait_until("the next server has done it", || state(redress) == "done");
        assert_eq!(issued(redress), 12_000);
        assert_eq!(server.stop(), Some(0));
    });
}

#[test]
fn over_http_a_run_is_planned_approved_executed_by_the_server_and_watched() {
    Redress::test(|redress| {
        prepared(redress, 6_000, "17999");
        let server = redress.serve();
        let (finance, second) = (redress.session(&server, "finance"), redress.session(&server, "finance-2"));
        let auditor = redress.client(&server, "auditor", "auditor");
        let order = serde_json::json!({ "incident": INCIDENT });
        let none = finance.post_once("/v1/runs", &serde_json::json!({ "incident": INCIDENT, "policies": [] }));
        assert_eq!(none.is_problem(422, "invalid_request")["errors"][0]["pointer"], "/policies");
        let short = finance.post_once("/v1/runs/1/approve", &serde_json::json!({ "plan": "x" }));
        let short = short.is_problem(422, "invalid_request");
        assert_eq!(short["errors"][0]["detail"], "must have 16 to 64 digits", "{short}");
        let dry = finance.post_once("/v1/runs", &serde_json::json!({ "incident": INCIDENT, "dry_run": true }));
        assert_eq!((dry.status, dry.json()["tally"]["credits"].as_u64()), (200, Some(6_000)), "{}", dry.text());
        assert_eq!(state(redress), "", "a dry run writes nothing");

        // A retry with the same key is the same run; another key meets an open one.
        let headers = [("content-type", "application/json"), ("idempotency-key", "first")];
        let opened = finance.send("POST", "/v1/runs", &headers, order.to_string());
        assert_eq!((opened.status, opened.header("location")), (201, "/v1/runs/1"), "{}", opened.text());
        let run = opened.json();
        assert_eq!((run["state"].as_str(), &run["plan"]), (Some("planned"), &dry.json()["plan"]), "{run}");
        let again = finance.send("POST", "/v1/runs", &headers, order.to_string());
        assert_eq!((again.status, again.json()["id"].as_i64()), (201, Some(1)));
        finance.post_once("/v1/runs", &order).is_problem(409, "run_refused");
        finance.send("POST", "/v1/runs", &headers[..1], order.to_string()).is_problem(400, "idempotency_key_missing");

        // Four eyes, and the plan that was seen.
        let plan = run["plan"].as_str().unwrap();
        let approval = serde_json::json!({ "plan": plan });
        finance.post_once("/v1/runs/1/approve", &approval).is_problem(409, "second_person_needed");
        second
            .post_once("/v1/runs/1/approve", &serde_json::json!({ "plan": "0".repeat(64) }))
            .is_problem(409, "run_refused");
        second
            .post_once("/v1/runs/1/approve", &serde_json::json!({ "plan": "short" }))
            .is_problem(422, "invalid_request");
        auditor.post_once("/v1/runs/1/approve", &approval).is_problem(403, "forbidden");
        assert_eq!(issued(redress), 0);

        // Held at its first chunk, it can be halted, watched and resumed.
        let mut other = redress.owner();
        other.batch_execute("BEGIN; SELECT * FROM budget FOR UPDATE").unwrap();
        assert_eq!(second.post_once("/v1/runs/1/approve", &approval).json()["approved_by"], "finance-2");
        wait_until("the server is at it", || redress.waiting_for_locks() > 0);
        let paused = finance.post_once("/v1/runs/1/pause", &serde_json::json!({}));
        assert_eq!((paused.status, paused.json()["state"].as_str()), (200, Some("paused")), "{}", paused.text());
        finance.post_once("/v1/runs/1/pause", &serde_json::json!({})).is_problem(409, "run_refused");
        other.batch_execute("ROLLBACK").unwrap();
        let shown = auditor.get("/v1/runs/1").json();
        assert_eq!(
            (shown["run"]["state"].as_str(), shown["plan"]["tally"]["credits"].as_u64()),
            (Some("paused"), Some(6_000))
        );
        assert_eq!(finance.post_once("/v1/runs/1/resume", &serde_json::json!({})).json()["state"], "running");
        wait_until("the server has done it", || state(redress) == "done");
        let shown = auditor.get("/v1/runs/1").json();
        let progress = &shown["run"]["progress"];
        assert_eq!((progress["issued"].as_u64(), &progress["done"]), (Some(6_000), &progress["chunks"]), "{shown}");
        assert_eq!(auditor.get("/v1/runs").json()["runs"][0]["id"], 1);
        finance.post_once("/v1/runs/1/cancel", &serde_json::json!({})).is_problem(409, "run_refused");
        auditor.get("/v1/runs/2").is_problem(404, "not_found");
        auditor.get("/v1/runs/x").is_problem(400, "invalid_path");

        // Below the limit it begins at once.
        assert_eq!(finance.post_once("/v1/runs", &order).json()["state"], "running");
        wait_until("the server has done it", || state(redress) == "done done");
        assert_eq!(issued(redress), 6_000);
    });
}

#[test]
fn a_roster_is_cut_into_like_parts_and_none_of_them_reads_the_whole_ledger() {
    Redress::test(|redress| {
        prepared(redress, 24_000, "100000");
        // As PostgreSQL has it unless an operator knows better; the private server is told.
        redress.sql(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET random_page_cost = 4', current_database()); END $$",
        );
        assert_eq!(issue(redress, &[]).succeeds().json()["issued"], 24_000);
        let sizes = redress.text("SELECT string_agg(tally ->> 'credits', ' ' ORDER BY seq) FROM run_chunk");
        let sizes: Vec<u32> = sizes.split(' ').map(|size| size.parse().unwrap()).collect();
        // Cut by a sample, about 4,000 each.
        assert!((5..=9).contains(&sizes.len()) && sizes.iter().all(|size| *size < 6_500), "{sizes:?}");
        // The last part has no end: it must be found by the index like any other.
        let statistics = "FROM pg_stat_user_tables WHERE relname = 'transfer'";
        let written = format!("SELECT n_tup_ins {statistics}");
        wait_until("the workers' statistics have come", || redress.number(&written) > 24_000);
        let read = redress.number(&format!("SELECT seq_tup_read {statistics}"));
        assert!(read < 1_000, "{read} transfers were read one after the other");
    });
}

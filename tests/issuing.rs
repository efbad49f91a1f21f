//! The batch job: who is credited what, that nobody is credited twice, and that a budget is never overdrawn.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use crate::harness::{INCIDENT, Ran, Redress, Server, merchant_claim, merchants};

const HEADER: &str = "customer,service,reference,kind,valid_from,valid_until,channel,extendable,fee\n";

/// Imports rows of which none may be refused.
fn import(redress: &Redress, rows: &str) {
    let roster = redress.file("roster.csv", format!("{HEADER}{rows}"));
    let done = redress.json(&["roster", "import", &roster, "--incident", INCIDENT]);
    assert_eq!(done["refused"], 0, "{done}");
}

/// What each customer has, as `customer asset amount`, from the ledger's rows.
fn credited(redress: &Redress) -> Vec<String> {
    let all = redress.text(
        "SELECT coalesce(string_agg(line, E'\\n' ORDER BY line COLLATE \"C\"), '') FROM (
             SELECT customer_id || ' ' || asset.code || ' ' || sum(amount) AS line
             FROM transfer JOIN asset ON asset.id = asset_id WHERE transfer.code = 2 GROUP BY customer_id, asset.code) AS l",
    );
    all.lines().map(str::to_owned).collect()
}

/// What `report exposure` says was credited: `policy asset` to (credits, amount).
fn exposure(redress: &Redress) -> BTreeMap<String, (u64, String)> {
    let report = redress.json(&["report", "exposure", "--incident", INCIDENT]);
    let credits = report["incidents"][0]["credits"].as_array().unwrap().iter().map(|credit| {
        let name = format!("{} {}", credit["policy"].as_str().unwrap(), credit["asset"].as_str().unwrap());
        (name, (credit["credits"].as_u64().unwrap(), credit["amount"].as_str().unwrap().to_owned()))
    });
    credits.collect()
}

/// What was set aside for people, as `customer: subject: reason`.
fn set_aside(redress: &Redress) -> String {
    redress.text(
        "SELECT coalesce(string_agg(customer_id || ': ' || subject || ': ' || reason, E'\\n' ORDER BY customer_id), '')
         FROM run_exception",
    )
}

/// Subscribers of Melon, each owed three days.
fn subscribers(count: u32) -> String {
    (0..count).fold(String::new(), |mut rows, number| {
        writeln!(rows, "s-{number:06},melon,sub-{number},subscription,,,web,,").unwrap();
        rows
    })
}

fn issue(redress: &Redress, more: &[&str]) -> Ran {
    let args: Vec<&str> = ["issue", "--incident", INCIDENT].into_iter().chain(more.iter().copied()).collect();
    redress.run(&args)
}

#[test]
fn melon_gives_what_was_announced_on_both_sides_of_every_bound() {
    Redress::test(|redress| {
        redress.with_incident().with_staff().with_policies(&["melon"]);
        let mut rows = String::new();
        let mut expected = Vec::new();
        let day = |text: &str| format!("2022-10-{text}+09:00");
        for (customer, kind, from, until, channel, extendable, gets) in [
            // K1: valid on 16 October: three days more; last day 15 October: 1,500 instead.
            ("k1-pass", "pass", day("11T00:00:00"), "2022-11-11T00:00:00+09:00".into(), "web", "", Some("day:melon 3")),
            ("k1-last-15", "pass", day("01T00:00:00"), day("16T00:00:00"), "web", "", Some("cash:melon 1500")),
            ("last-15-early", "pass", day("01T00:00:00"), day("15T00:00:01"), "web", "", Some("cash:melon 1500")),
            ("last-14", "pass", day("01T00:00:00"), day("15T00:00:00"), "web", "", None),
            ("last-16", "pass", day("01T00:00:00"), day("16T00:00:01"), "web", "", Some("day:melon 3")),
            ("first-16", "subscription", day("16T23:59:59"), day("30T00:00:00"), "web", "", Some("day:melon 3")),
            ("first-17", "subscription", day("17T00:00:00"), day("30T00:00:00"), "web", "", None),
            ("open", "subscription", String::new(), String::new(), "web", "", Some("day:melon 3")),
            ("app", "subscription", String::new(), String::new(), "app_store", "", Some("cash:melon 1500")),
            ("app-extendable", "pass", String::new(), String::new(), "app_store", "true", Some("day:melon 3")),
            ("affiliate", "pass", String::new(), String::new(), "affiliate", "false", Some("cash:melon 1500")),
            ("affiliate-extendable", "pass", String::new(), String::new(), "affiliate", "true", Some("day:melon 3")),
        ] {
            writeln!(rows, "{customer},melon,r-{customer},{kind},{from},{until},{channel},{extendable},").unwrap();
            expected.extend(gets.map(|gets| format!("{customer} {gets}")));
        }
        expected.sort();
        import(redress, &rows);
        redress.with_budget("melon", "day:melon", "100").with_budget("melon", "cash:melon", "100000");
        let report = redress.issue();
        assert_eq!(credited(redress), expected, "{report}");
        assert_eq!((report["issued"].as_u64(), set_aside(redress).as_str()), (Some(10), ""), "{report}");
        assert_eq!(
            exposure(redress),
            BTreeMap::from([
                ("melon cash:melon".to_owned(), (4, "6000".to_owned())),
                ("melon day:melon".to_owned(), (6, "18".to_owned())),
            ])
        );
        let again = redress.issue();
        assert_eq!((again["issued"].as_u64(), again["stopped"].is_null()), (Some(0), true), "{again}");
        assert_eq!(credited(redress), expected);
    });
}

#[test]
fn drivers_get_the_published_points_and_any_other_fee_is_set_aside() {
    Redress::test(|redress| {
        redress.with_incident().with_staff().with_policies(&["mobility-pro"]);
        import(
            redress,
            "taxi,mobility-pro,p1,membership,,,,,39000\n\
             designated,mobility-pro,p2,membership,,,,,22000\n\
             odd-above,mobility-pro,p3,membership,,,,,39001\n\
             odd-below,mobility-pro,p4,membership,,,,,21999\n\
             unknown-fee,mobility-pro,p5,membership,,,,,\n\
             ended,mobility-pro,p6,membership,,2022-10-15T15:30:00+09:00,,,39000\n\
             ended-later,mobility-pro,p7,membership,,2022-10-15T15:30:01+09:00,,,39000\n\
             began,mobility-pro,p8,membership,2022-10-16T09:00:00+09:00,,,,22000\n\
             began-sooner,mobility-pro,p9,membership,2022-10-16T08:59:59+09:00,,,,22000\n",
        );
        redress.with_budget("mobility-pro", "points:mobility", "1000000");
        let report = redress.issue();
        assert_eq!(
            credited(redress),
            [
                "began-sooner points:mobility 4260",
                "designated points:mobility 4260",
                "ended-later points:mobility 7550",
                "taxi points:mobility 7550"
            ],
            "{report}"
        );
        let aside = set_aside(redress);
        assert_eq!(report["tally"]["exceptions"], 3, "{report}\n{aside}");
        let expected = ["odd-above: holding/p3", "odd-below: holding/p4", "unknown-fee: holding/p5"];
        assert_eq!(aside, expected.map(|subject| format!("{subject}: review: mobility-fee")).join("\n"));
    });
}

#[test]
fn records_without_facts_that_no_rule_reads_are_no_error() {
    Redress::test(|redress| {
        redress.with_incident().with_staff().with_policies(&["melon", "mobility-pro"]);
        import(redress, "free,melon,a,account,,,,,\nfree,mobility-pro,b,account,,,,,\n");
        let report = redress.issue();
        assert_eq!((set_aside(redress).as_str(), report["issued"].as_u64()), ("", Some(0)));
    });
}

#[test]
fn webtoon_gives_days_or_hours_and_the_cash_once_a_customer() {
    Redress::test(|redress| {
        redress.with_incident().with_staff().with_policies(&["webtoon"]);
        import(
            redress,
            "sub,webtoon,w1,subscription,,,web,,\n\
             ran-out-before,webtoon,w2,right,,2022-10-15T15:30:00+09:00,web,,\n\
             ran-out-first,webtoon,w3,right,,2022-10-15T15:30:01+09:00,web,,\n\
             ran-out-last,webtoon,w4,right,,2022-10-16T21:30:00+09:00,web,,\n\
             outlasted,webtoon,w5,right,,2022-10-16T21:30:01+09:00,web,,\n\
             two,webtoon,w6,right,,2022-10-16T01:00:00+09:00,web,,\n\
             two,webtoon,w7,right,,2022-10-16T02:00:00+09:00,web,,\n\
             free,webtoon,w8,account,,,,,\n",
        );
        for (asset, amount) in [("day:webtoon", "100"), ("hour:webtoon-right", "1000"), ("cash:webtoon", "100000")] {
            redress.with_budget("webtoon", asset, amount);
        }
        let report = redress.issue();
        let expected = [
            "ran-out-first cash:webtoon 3000",
            "ran-out-first hour:webtoon-right 72",
            "ran-out-last cash:webtoon 3000",
            "ran-out-last hour:webtoon-right 72",
            "sub cash:webtoon 3000",
            "sub day:webtoon 3",
            "two cash:webtoon 3000",
            "two hour:webtoon-right 144",
        ];
        assert_eq!(credited(redress), expected, "{report}");
        // A right that the records show later changes nothing of the cash, wherever it is sorted in.
        import(redress, "two,webtoon,a-earlier,right,,2022-10-16T01:00:00+09:00,web,,\n");
        assert_eq!(redress.issue()["issued"], 1);
        assert_eq!(
            redress.number("SELECT sum(amount) FROM transfer WHERE customer_id = 'two' AND amount > 1000"),
            3000
        );
    });
}

/// Merchants' claims, filed with a server.
fn claims(redress: &Redress) -> Server {
    redress.with_incident().with_staff().with_policies(&["kakaotalk-merchant-loss"]);
    let roster = redress.file("merchants.csv", merchants(&["m-1", "m-2"]));
    redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
    redress.with_budget("kakaotalk", "KRW", "1000000");
    redress.serve()
}

#[test]
fn a_claim_that_is_granted_is_issued_by_the_next_run_and_said_so() {
    Redress::test(|redress| {
        let server = claims(redress);
        let first = server.claim("1", &merchant_claim("m-1", "300000")).json();
        let dry = redress.json(&["issue", "--incident", INCIDENT, "--dry-run"]);
        assert_eq!((dry["issued"].as_u64(), dry["tally"]["credits"].as_u64()), (Some(0), Some(1)), "{dry}");
        assert_eq!(redress.number("SELECT count(*) FROM run"), 0, "a dry run writes nothing");
        assert_eq!(redress.issue()["issued"], 1);
        let second = server.claim("2", &merchant_claim("m-2", "300001")).json();
        let declined = server.claim("3", &merchant_claim("m-1", "0")).json();
        assert_eq!(redress.issue()["issued"], 1);
        assert_eq!(redress.issue()["issued"], 0);
        assert_eq!(credited(redress), ["m-1 KRW 30000", "m-2 KRW 50000"]);
        for (claim, status) in [(first, "issued"), (second, "issued"), (declined, "declined")] {
            let bearer = format!("Bearer {}", claim["token"].as_str().unwrap());
            let path = format!("/v1/claims/{}", claim["id"].as_str().unwrap());
            assert_eq!(server.get(&path, &[("authorization", &bearer)]).json()["status"], status);
        }
        assert_eq!(redress.number("SELECT count(*) FROM notice WHERE event = 'credited'"), 2);
    });
}

#[test]
fn a_dry_run_says_what_the_run_does() {
    Redress::test(|redress| {
        redress.with_incident().with_staff().with_policies(&["melon", "mobility-pro"]);
        import(
            redress,
            &(subscribers(50) + "odd,mobility-pro,p,membership,,,,,1\ndriver,mobility-pro,q,membership,,,,,39000\n"),
        );
        redress.with_budget("melon", "day:melon", "100");
        let before = redress.json(&["issue", "--incident", INCIDENT, "--dry-run"]);
        assert_eq!(before["budgets"][0]["needed"], 150, "{before}");
        assert_eq!(before["budgets"][0]["left"], 100, "{before}");
        assert_eq!(before["budgets"][1]["left"], 0, "{before}");
        let text = issue(redress, &["--dry-run"]).succeeds().stdout;
        assert!(text.contains("NOT ENOUGH") && text.contains("nothing was written"), "{text}");
        redress.with_budget("melon", "day:melon", "100").with_budget("mobility-pro", "points:mobility", "7550");
        let dry = redress.json(&["issue", "--incident", INCIDENT, "--dry-run"]);
        let run = redress.issue();
        assert_eq!(dry["tally"], run["tally"]);
        assert_eq!(dry["tally"]["credits"], run["issued"]);
        assert_eq!(redress.number("SELECT count(*) FROM run"), 1);
    });
}

#[test]
fn without_a_budget_nothing_of_the_chunk_is_written() {
    Redress::test(|redress| {
        redress.with_incident().with_staff().with_policies(&["webtoon"]);
        import(redress, "sub,webtoon,w1,subscription,,,web,,\nsub-2,webtoon,w2,subscription,,,web,,\n");
        // The days are there, the cash is not: the chunk must not happen by half.
        redress.with_budget("webtoon", "day:webtoon", "6");
        for asset in ["cash:webtoon", "cash:webtoon", "cash:webtoon"].iter().enumerate().map(|(round, asset)| {
            if round == 1 {
                redress.with_budget("webtoon", asset, "5999");
            }
            asset
        }) {
            let stopped = issue(redress, &["--format", "json"]).fails(1, "").json();
            let why = stopped["stopped"].as_str().unwrap();
            assert!(why.contains(&format!("budget of webtoon for {asset}")), "{why}");
            assert!(why.contains("redress budget authorise --incident") && why.contains("--dry-run"), "{why}");
            assert_eq!((stopped["issued"].as_u64(), credited(redress).len()), (Some(0), 0));
            assert_eq!(redress.text("SELECT string_agg(state, ' ') FROM run"), "stopped");
        }
        // The doctor names the run, and the same in text has the reason where the eye is.
        assert!(redress.run(&["doctor"]).fails(1, "").stdout.contains("goes on where it stopped"));
        assert!(issue(redress, &[]).fails(1, "").stdout.contains("STOPPED: "));
        redress.with_budget("webtoon", "cash:webtoon", "1");
        let done = redress.issue();
        assert_eq!((done["issued"].as_u64(), done["resumed"].as_bool()), (Some(4), Some(true)), "{done}");
        assert_eq!(redress.text("SELECT string_agg(state, ' ') FROM run"), "done");
        assert_eq!(redress.number("SELECT sum(approved - spent) FROM budget"), 0);
    });
}

#[test]
fn a_budget_for_one_chunk_pays_one_chunk_whole_and_the_next_run_the_rest() {
    Redress::test(|redress| {
        redress.with_incident().with_staff().with_policies(&["melon"]);
        import(redress, &subscribers(7_000));
        redress.with_budget("melon", "day:melon", "15000");
        let stopped = issue(redress, &["--format", "json", "--workers", "1"]).fails(1, "").json();
        let first = stopped["issued"].as_u64().unwrap();
        assert_eq!(redress.number("SELECT count(*) FROM run_chunk"), 2);
        assert_eq!(redress.number("SELECT count(*) FROM run_chunk WHERE done_at IS NOT NULL"), 1);
        assert!(first > 2_000 && first <= 5_000, "{first}");
        assert_eq!(redress.number("SELECT count(*) FROM transfer WHERE code = 2"), i64::try_from(first).unwrap());
        redress.with_budget("melon", "day:melon", "6000");
        assert_eq!(redress.issue()["issued"], 7_000 - first);
        assert_eq!(exposure(redress)["melon day:melon"], (7_000, "21000".to_owned()));
    });
}

#[test]
fn a_version_that_grants_more_pays_the_difference_and_one_that_grants_less_takes_nothing_back() {
    Redress::test(|redress| {
        redress.with_incident().with_staff().with_policies(&["melon"]);
        import(redress, &subscribers(3));
        redress.with_budget("melon", "day:melon", "1000");
        assert_eq!(redress.issue()["issued"], 3);
        let source = std::fs::read_to_string(crate::harness::repository().join("policies/melon.toml")).unwrap();
        let version = |days: u32, issued: u32, sum: &str| {
            let file = redress.file("melon.toml", source.replace("amount = 3 }", &format!("amount = {days} }}")));
            redress.run(&["policy", "publish", &file, "--as", "author"]).succeeds();
            // A version that nobody approved is not in force.
            assert_eq!(redress.issue()["issued"], 0);
            redress.run(&["policy", "approve", &file, "--as", "approver"]).succeeds();
            assert_eq!(redress.issue()["issued"], issued, "{days} days");
            assert_eq!(redress.issue()["issued"], 0);
            assert_eq!(exposure(redress)["melon day:melon"].1, sum, "{days} days");
        };
        version(5, 3, "15");
        version(2, 0, "15");
        version(6, 3, "18");
        assert_eq!(credited(redress), ["s-000000 day:melon 6", "s-000001 day:melon 6", "s-000002 day:melon 6"]);
    });
}

#[test]
fn whoever_holds_the_same_gets_the_same_unless_a_policy_reads_whose_it_is() {
    Redress::test(|redress| {
        redress.with_incident().with_staff().with_policies(&["melon"]);
        import(redress, &subscribers(4));
        // Two that a person has to look at, each by its own name, and one that is declined twice.
        import(
            redress,
            "r-1,melon,x-1,pass,,,,,\nr-2,melon,x-2,pass,,,,,\nr-3,melon,x-3,right,,,,,\nr-3,melon,x-4,right,,,,,\n",
        );
        redress.with_budget("melon", "day:melon", "1000");
        let report = redress.issue();
        let tally = &report["tally"]["policies"]["melon"];
        let figures = ["granted", "customers", "review", "failed"].map(|name| tally[name].as_u64().unwrap());
        assert_eq!((figures, tally["declined"]["no-paid-right"].as_u64()), ([4, 4, 2, 0], Some(2)), "{report}");
        assert_eq!(set_aside(redress), "r-1: holding/x-1: review: records\nr-2: holding/x-2: review: records");
        // The next version has a present for one of them.
        let source = std::fs::read_to_string(crate::harness::repository().join("policies/melon.toml")).unwrap();
        let present = "[[rule]]\nname = \"present\"\nwhen = \"holding.ref == 'sub-2'\"\n\
            award = [{ asset = \"day:melon\", amount = 5 }]\nreference = \"test\"\n\
            title = { ko = \"선물\", en = \"A present\" }\n\n[[rule]]\nname      = \"three-days\"";
        let source = source.replace("[[rule]]\nname      = \"three-days\"", present);
        let file = redress.file("melon.toml", source);
        redress.run(&["policy", "publish", &file, "--as", "author"]).succeeds();
        redress.run(&["policy", "approve", &file, "--as", "approver"]).succeeds();
        assert_eq!(redress.issue()["issued"], 1);
        let expected = [("s-000000", 3), ("s-000001", 3), ("s-000002", 5), ("s-000003", 3)];
        assert_eq!(credited(redress), expected.map(|(customer, days)| format!("{customer} day:melon {days}")));
        // So it is for whoever has nothing yet.
        import(redress, "t-1,melon,sub-1,subscription,,,web,,\nt-2,melon,sub-2,subscription,,,web,,\n");
        assert_eq!(redress.issue()["issued"], 2);
        assert_eq!(credited(redress)[4..], ["t-1 day:melon 3", "t-2 day:melon 5"]);
    });
}

#[test]
fn records_that_change_pay_the_difference_and_the_books_hold() {
    Redress::test(|redress| {
        redress.with_incident().with_staff().with_policies(&["mobility-pro"]);
        redress.with_budget("mobility-pro", "points:mobility", "100000");
        import(redress, "driver,mobility-pro,p,membership,,,,,22000\n");
        assert_eq!(redress.issue()["issued"], 1);
        import(redress, "driver,mobility-pro,p,membership,,,,,39000\n");
        assert_eq!(redress.issue()["issued"], 1);
        assert_eq!(credited(redress), ["driver points:mobility 7550"]);
        redress.run(&["verify"]).succeeds();
        // Corrected downwards, nothing is taken back.
        import(redress, "driver,mobility-pro,p,membership,,,,,22000\n");
        assert_eq!(redress.issue()["issued"], 0);
    });
}

#[test]
fn two_processes_at_once_lose_nothing_and_double_nothing() {
    Redress::test(|redress| {
        redress.with_incident().with_staff().with_policies(&["melon"]);
        import(redress, &subscribers(30_000));
        redress.with_budget("melon", "day:melon", "90000");
        let reports: Vec<Value> = std::thread::scope(|scope| {
            let both: Vec<_> = (0..2).map(|_| scope.spawn(|| redress.issue())).collect();
            both.into_iter().map(|process| process.join().unwrap()).collect()
        });
        let issued: u64 = reports.iter().map(|report| report["issued"].as_u64().unwrap()).sum();
        println!("issued {} and {}", reports[0]["issued"], reports[1]["issued"]);
        assert_eq!(issued, 30_000);
        assert_eq!(exposure(redress)["melon day:melon"], (30_000, "90000".to_owned()));
        assert_eq!(redress.number("SELECT count(DISTINCT customer_id) FROM transfer WHERE code = 2"), 30_000);
        // One run that both worked on, or two of which the later found nothing.
        let states = redress.text("SELECT string_agg(DISTINCT state, ' ') FROM run");
        assert_eq!(states, "done");
        assert_eq!(redress.number("SELECT count(*) FROM run_chunk WHERE done_at IS NULL"), 0);
        assert_eq!(redress.number("SELECT sum((tally ->> 'credits')::bigint) FROM run_chunk"), 30_000);
    });
}

#[test]
fn a_run_of_one_policy_leaves_the_others_alone() {
    Redress::test(|redress| {
        redress.with_incident().with_staff().with_policies(&["melon", "webtoon"]);
        import(redress, "a,melon,m,subscription,,,web,,\na,webtoon,w,subscription,,,web,,\n");
        redress.with_budget("melon", "day:melon", "3");
        issue(redress, &["--policy", "page"]).refuses("no version of policy page is in force");
        assert_eq!(issue(redress, &["--policy", "melon", "--format", "json"]).succeeds().json()["issued"], 1);
        assert_eq!(credited(redress), ["a day:melon 3"]);
        // A run that stopped is gone on with as it was begun.
        issue(redress, &["--policy", "webtoon"]).fails(1, "");
        issue(redress, &[]).refuses("finish it first with the same --policy flags");
        redress.with_budget("webtoon", "day:webtoon", "3").with_budget("webtoon", "cash:webtoon", "3000");
        assert_eq!(issue(redress, &["--policy", "webtoon", "--format", "json"]).succeeds().json()["issued"], 2);
        assert_eq!(redress.issue()["issued"], 0);
    });
}

#[test]
fn one_customer_with_very_many_claims_does_not_stop_the_job() {
    Redress::test(|redress| {
        let server = claims(redress);
        assert_eq!(server.claim("1", &merchant_claim("m-1", "1000")).status, 201);
        assert_eq!(server.claim("odd", &merchant_claim("m-2", "1000")).status, 201);
        redress.with_budget("kakaotalk", "KRW", "300000000");
        redress.sql(
            "INSERT INTO claim SELECT customer_id, gen_random_uuid(), 'R-' || n, incident_id, service_id, state, facts, version,
                 created_at, submitted_at, updated_at FROM claim, generate_series(1, 8000) AS n WHERE customer_id = 'm-1';
             INSERT INTO assessment SELECT c.customer_id, c.id, 1, a.policy_version_id, a.outcome, a.trace, a.assessed_at
                 FROM claim AS c, assessment AS a WHERE a.customer_id = 'm-1'
                     AND NOT EXISTS (SELECT FROM assessment AS known WHERE known.claim_id = c.id);
             INSERT INTO holding SELECT roster_id, incident_id, service_id, 'm-1', 'acc-' || n, '[\"account\", \"\", null, null, {}]'
                 FROM holding, generate_series(1, 20000) AS n WHERE customer_id = 'm-1' AND reference LIKE 'account-%'",
        );
        // The same loss is paid once, however often it is reported; the rest is seen by people.
        let report = redress.issue();
        assert_eq!((report["issued"].as_u64(), report["tally"]["exceptions"].as_u64()), (Some(2), Some(8_000)));
        // The same with very many that are set aside.
        redress.with_policies(&["mobility-pro"]);
        redress.sql(
            "INSERT INTO holding SELECT roster_id, incident_id, (SELECT id FROM service WHERE name = 'mobility-pro'), 'm-2', 'odd-' || n,
                 '[\"membership\", \"\", null, null, {\"fee\": \"1\"}]'
                 FROM holding, generate_series(1, 20000) AS n WHERE customer_id = 'm-2'",
        );
        let report = redress.issue();
        assert_eq!(report["tally"]["exceptions"], 20_000, "each claim is said once");
        // Mails to claimants of made-up rows cannot be written; a person sees them.
        redress.sql("DELETE FROM notice WHERE claim_id NOT IN (SELECT claim_id FROM personal)");
    });
}

#[test]
fn what_only_grows_cannot_be_changed_by_the_server() {
    Redress::test(|redress| {
        redress.with_incident().with_staff().with_policies(&["melon"]);
        import(redress, &subscribers(2));
        redress.with_budget("melon", "day:melon", "100");
        assert_eq!(redress.issue()["issued"], 2);
        for table in ["transfer", "posting", "posting_total", "audit", "assessment", "policy_version"] {
            for change in ["DELETE FROM", "TRUNCATE"] {
                let refused = redress.sql_as_app(&format!("{change} {table}")).unwrap_err();
                assert!(refused.contains("permission denied"), "{change} {table}: {refused}");
            }
        }
        for change in [
            "transfer SET amount = amount + 1",
            "transfer SET customer_id = 'me'",
            "posting SET recorded_at = now()",
            "posting_total SET amount = amount + 1",
            "audit SET actor = 'nobody'",
            "policy_version SET source = ''",
            "assessment SET outcome = 'award'",
        ] {
            let refused = redress.sql_as_app(&format!("UPDATE {change}")).unwrap_err();
            assert!(refused.contains("permission denied"), "{change}: {refused}");
        }
        let refused = redress.sql_as_app("ALTER TABLE transfer DISABLE TRIGGER ALL").unwrap_err();
        assert!(refused.contains("must be owner"), "{refused}");
        // That role is the one which works: what it may do, it can.
        redress.sql_as_app("SELECT count(*) FROM transfer; UPDATE budget SET approved = approved").unwrap();
        // The database itself holds the budget, for whoever asks.
        use diesel::connection::SimpleConnection;
        for change in ["spent = approved + 1", "approved = spent - 1", "spent = -1"] {
            let refused = redress.owner().batch_execute(&format!("UPDATE budget SET {change}")).unwrap_err();
            assert!(refused.to_string().contains("budget_never_negative"), "{change}: {refused}");
        }
        assert_eq!(redress.json(&["verify"])["holds"], json!(true));
    });
}

#[test]
fn a_corrupt_row_is_set_aside_with_its_reason_and_the_rest_is_issued() {
    Redress::test(|redress| {
        redress.with_incident().with_staff().with_policies(&["melon"]);
        import(redress, &subscribers(1_200));
        import(redress, "s-000007,melon,second,subscription,,,web,,\n");
        // Many who hold the same, so that what is said of one is said again of the next.
        import(redress, &(0..100).map(|n| format!("t-{n:03},melon,same,subscription,,,web,,\n")).collect::<String>());
        redress.with_budget("melon", "day:melon", "10000");
        // As only a hand at the database could do; what it breaks, the program would never have written.
        redress.sql(
            "UPDATE holding SET facts = '[\"pass\", \"\", null, null, {\"Not A Name\": 1}]', common_id = NULL WHERE customer_id = 's-000007' AND reference = 'second';
             UPDATE holding SET facts = '[]', common_id = NULL WHERE customer_id = 's-000500';
             UPDATE holding SET common_id = 12345 WHERE customer_id = 's-000600';
             UPDATE holding SET reference = 'not a name' WHERE customer_id IN ('t-020', 't-070');
             UPDATE holding SET customer_id = 's 001000' WHERE customer_id = 's-001000'",
        );
        let report = redress.issue();
        assert_eq!((report["issued"].as_u64(), &report["state"]), (Some(1_294), &json!("done")), "{report}");
        assert_eq!(report["tally"]["exceptions"], 6, "{report}");
        let aside = set_aside(redress);
        let found: Vec<&str> = aside.lines().collect();
        let expected = [
            "s 001000: customer",
            "s-000007: holding/second",
            "s-000500: holding/sub-500",
            "s-000600: holding/sub-600",
            "t-020: holding/not a name",
            "t-070: holding/not a name",
        ];
        for (line, subject) in found.iter().zip(expected) {
            let said =
                format!("{subject}: nothing of this customer is issued before it is mended: a stored row is corrupt: ");
            assert!(line.starts_with(&said), "{aside}");
        }
        // Mended, it is issued by the next run, once.
        redress.sql(
            "UPDATE holding SET facts = '[\"subscription\", \"\", null, null, {\"channel\": \"web\"}]', common_id = NULL, customer_id = replace(customer_id, ' ', '-'), reference = replace(reference, ' ', '-')",
        );
        assert_eq!(redress.issue()["issued"], 7);
        assert_eq!(redress.issue()["issued"], 0);
    });
}

//! What was given before is never forgotten: whatever became of its policy, its subject or its incident's windows.

use diesel::connection::SimpleConnection;
use serde_json::{Value, json};

use crate::harness::{INCIDENT, Redress, wait_until};
use crate::runs::meanwhile;

/// An automatic policy of the messenger that awards won, by this expression.
fn publish(redress: &Redress, name: &str, amount: &str, more: &str) {
    let policy = format!(
        "policy = \"{name}\"\nincident = \"{INCIDENT}\"\nservice = \"kakaotalk\"\nbasis = \"automatic\"\n\
         title = {{ ko = \"자동\", en = \"Automatic\" }}\n{more}\n\
         [[rule]]\nname = \"all\"\notherwise = true\naward = [{{ asset = \"KRW\", amount = \"{amount}\" }}]\n"
    );
    let file = redress.file(&format!("{name}.toml"), policy);
    redress.run(&["policy", "publish", &file, "--as", "author"]).succeeds();
    redress.run(&["policy", "approve", &file, "--as", "approver"]).succeeds();
}

fn accounts(redress: &Redress, count: u32) {
    let mut roster = String::from("customer,service,reference,kind\n");
    (0..count).for_each(|number| roster.push_str(&format!("c-{number:05},kakaotalk,a,account\n")));
    let roster = redress.file("roster.csv", roster);
    redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
    redress.with_budget("kakaotalk", "KRW", "100000000");
}

fn credited(redress: &Redress) -> i64 {
    redress.number("SELECT coalesce(sum(amount), 0)::bigint FROM transfer WHERE code = 2")
}

const GROUP: &str = "[stacking]\ngroup = \"one-loss\"\nrule = \"highest-of\"";

#[test]
fn a_policy_that_was_retired_still_stands_for_the_loss_that_it_paid() {
    Redress::test(|redress| {
        redress.with_incident().with_staff();
        publish(redress, "higher", "1_000", GROUP);
        publish(redress, "lower", "600", GROUP);
        accounts(redress, 3);
        assert_eq!(redress.issue()["issued"], 3);
        redress.run(&["policy", "retire", "higher", "--incident", INCIDENT, "--as", "approver"]).succeeds();
        assert_eq!(redress.issue()["issued"], 0);
        // Of one whose credit was taken back nothing stands any more.
        let id = redress.text("SELECT id::text FROM transfer WHERE code = 2 AND customer_id = 'c-00001'");
        let reverse =
            ["credit", "reverse", "--as", "finance", "--reason", "credited-in-error", "--customer", "c-00001"];
        redress.run(&[&reverse[..], &[&id]].concat()).succeeds();
        assert_eq!(redress.issue()["issued"], 1);
        assert_eq!(credited(redress), 3_600);
        redress.run(&["verify"]).succeeds();
    });
}

#[test]
fn credits_of_another_incident_are_no_business_of_this_one() {
    const OTHER: &str = "kakao-2023-01-01";
    Redress::test(|redress| {
        redress.with_incident().with_staff();
        let root = crate::harness::repository();
        let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap().replace(INCIDENT, OTHER);
        let incident = redress.file("other.toml", read(&format!("policies/incidents/{INCIDENT}.toml")));
        redress.run(&["incident", "load", &incident]).succeeds();
        redress.with_policies(&["melon"]).with_budget("melon", "day:melon", "100");
        let policy = redress.file("melon.toml", read("policies/melon.toml").replace("amount = 3 }", "amount = 4 }"));
        redress.run(&["policy", "publish", &policy, "--as", "author"]).succeeds();
        redress.run(&["policy", "approve", &policy, "--as", "approver"]).succeeds();
        let roster =
            "customer,service,reference,kind,channel\nc-1,melon,a,subscription,web\nc-2,melon,a,subscription,web\n";
        let roster = redress.file("roster.csv", roster);
        for (verb, by) in [("authorise", "finance"), ("approve", "finance-2")] {
            let budget = ["budget", verb, "--incident", OTHER, "--service", "melon", "--asset", "day:melon"];
            redress.run(&[&budget[..], &["--amount", "100", "--as", by]].concat()).succeeds();
        }
        for incident in [INCIDENT, OTHER] {
            redress.run(&["roster", "import", &roster, "--incident", incident]).succeeds();
            assert_eq!(redress.json(&["issue", "--incident", incident])["issued"], 2, "{incident}");
            assert_eq!(redress.json(&["issue", "--incident", incident])["issued"], 0, "{incident}");
        }
        assert_eq!(credited(redress), 2 * 3 + 2 * 4);
        redress.run(&["verify"]).succeeds();
    });
}

/// A correction: the service was away for so many hours.
fn windows(service: &str, hours: i64) -> (String, Value) {
    let until = format!("2022-10-15T{:02}:00:00Z", 7 + hours);
    let window = json!({ "from": "2022-10-15T07:00:00Z", "until": until, "severity": "unavailable" });
    let path = format!("/v1/incidents/{INCIDENT}/windows");
    (path, json!({ "service": service, "windows": [window] }))
}

#[test]
fn of_two_corrections_of_windows_at_the_same_moment_both_hold() {
    Redress::test(|redress| {
        redress.with_incident();
        let server = redress.serve();
        let root = redress.client(&server, "root", "administrator");
        let mut other = redress.owner();
        other.batch_execute("BEGIN; SELECT * FROM incident FOR UPDATE").unwrap();
        std::thread::scope(|scope| {
            let corrections: Vec<_> = ["melon", "webtoon"]
                .map(|service| {
                    let root = &root;
                    scope.spawn(move || {
                        let (path, body) = windows(service, 3);
                        root.post_once(&path, &body).status
                    })
                })
                .into_iter()
                .collect();
            wait_until("both wait", || redress.waiting_for_locks() == 2);
            other.batch_execute("ROLLBACK").unwrap();
            corrections.into_iter().for_each(|answer| assert_eq!(answer.join().unwrap(), 200));
        });
        let corrected = "SELECT count(*) FROM impact JOIN service ON service.id = impact.service_id
                         WHERE name IN ('melon', 'webtoon') AND ends_at = '2022-10-15T10:00:00Z'";
        assert_eq!(redress.number(corrected), 2);
    });
}

#[test]
fn windows_that_are_corrected_while_a_run_goes_on_hold_for_the_chunks_that_are_left() {
    Redress::test(|redress| {
        redress.with_incident().with_staff();
        publish(redress, "by-the-hour", "number(hours(incident.window))", "");
        accounts(redress, 25_000);
        let before = redress.number(
            "SELECT extract(epoch FROM max(ends_at) - min(starts_at))::bigint / 3600 FROM impact
             JOIN service ON service.id = impact.service_id WHERE name = 'kakaotalk'",
        );
        let server = redress.serve();
        let root = redress.client(&server, "root", "administrator");
        let report = meanwhile(redress, &[], || {
            let (path, body) = windows("kakaotalk", 2);
            assert_eq!(root.post_once(&path, &body).status, 200);
        });
        let report = report.succeeds().json();
        assert_eq!((report["state"].as_str(), report["issued"].as_u64()), (Some("done"), Some(25_000)), "{report}");
        let by_amount = "SELECT string_agg(amount::text, ' ' ORDER BY amount) FROM (SELECT DISTINCT amount FROM transfer WHERE code = 2) AS one";
        assert_eq!(redress.text(by_amount), format!("2 {before}"));
        redress.run(&["verify"]).succeeds();
    });
}

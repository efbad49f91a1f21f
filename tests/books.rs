//! Budgets, credits, the ledger, reports and the audit log over HTTP.

use serde_json::{Value, json};

use crate::harness::{INCIDENT, Redress, merchant_claim, merchants};

/// Subscribers of Melon who are owed three days each, and have them.
fn issued(redress: &Redress, count: u32) {
    redress.with_incident().with_staff().with_policies(&["melon"]).with_budget("melon", "day:melon", "100000");
    let mut roster = String::from("customer,service,reference,kind,channel\n");
    (0..count).for_each(|number| roster.push_str(&format!("s-{number:03},melon,sub,subscription,web\n")));
    let roster = redress.file("roster.csv", roster);
    redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
    assert_eq!(redress.issue()["issued"], count);
}

#[test]
fn a_budget_that_nothing_would_be_issued_from_or_that_was_asked_for_before_is_warned_of() {
    Redress::test(|redress| {
        redress.with_incident().with_staff().with_policies(&["melon"]);
        let ask = |asset: &str| {
            let args = [
                "budget",
                "authorise",
                "--incident",
                INCIDENT,
                "--service",
                "melon",
                "--asset",
                asset,
                "--amount",
                "5",
            ];
            redress.json(&[&args[..], &["--as", "finance"]].concat())
        };
        let warned = |document: &Value| document["warnings"][0].as_str().unwrap_or_default().to_owned();
        let first = ask("day:melon");
        assert_eq!(first["warnings"], Value::Null, "{first}");
        let again = ask("day:melon");
        assert!(
            warned(&again)
                .starts_with(&format!("the same amount waits for approval already, as request {}", first["request"])),
            "{again}"
        );
        let other = ask("item:sticker");
        assert!(warned(&other).contains("grants item:sticker, but cash:melon, day:melon"), "{other}");
    });
}

#[test]
fn a_budget_is_asked_for_once_and_approved_by_another() {
    Redress::test(|redress| {
        redress.with_incident().with_staff();
        let server = redress.serve();
        let (finance, second) = (redress.session(&server, "finance"), redress.session(&server, "finance-2"));
        let wanted = json!({ "incident": INCIDENT, "service": "melon", "asset": "day:melon", "amount": "300" });
        let headers = [("content-type", "application/json"), ("idempotency-key", "one")];
        let asked = finance.send("POST", "/v1/budgets", &headers, wanted.to_string());
        assert_eq!((asked.status, asked.json()["state"].as_str()), (200, Some("authorised")), "{}", asked.text());
        let id = asked.json()["id"].to_string();
        // The same request again is the same one, byte for byte; another body under the key is refused.
        assert_eq!(finance.send("POST", "/v1/budgets", &headers, wanted.to_string()).body, asked.body);
        let other = json!({ "incident": INCIDENT, "service": "melon", "asset": "day:melon", "amount": "301" });
        finance.send("POST", "/v1/budgets", &headers, other.to_string()).is_problem(422, "idempotency_key_reused");
        assert_eq!(redress.number("SELECT count(*) FROM budget_request"), 1);
        for (field, value) in
            [("amount", "0.5"), ("amount", "0"), ("amount", "-1"), ("asset", "Day"), ("service", "No")]
        {
            let mut wrong = wanted.clone();
            wrong[field] = json!(value);
            let problem = finance.post_once("/v1/budgets", &wrong).is_problem(422, "invalid_request");
            let pointer = problem["errors"][0]["pointer"].as_str().unwrap_or_default();
            assert!(!pointer.is_empty() && !pointer.contains(':'), "{problem}");
        }
        // A second request of the same amount stands beside it; each is decided by its number.
        let beside = finance.post_once("/v1/budgets", &wanted).json()["id"].to_string();
        let decide = |who: &crate::server::Client<'_>, id: &str, verb: &str| {
            who.post_once(&format!("/v1/budgets/{id}/{verb}"), &json!({}))
        };
        decide(&finance, &id, "approve").is_problem(409, "second_person_needed");
        assert_eq!(decide(&second, &beside, "reject").json()["state"], "rejected");
        decide(&second, &beside, "approve").is_problem(409, "budget_decided_already");
        let approved = decide(&second, &id, "approve").json();
        assert_eq!(
            (approved["state"].as_str(), approved["decided_by"].as_str()),
            (Some("approved"), Some("finance-2"))
        );
        decide(&second, &id, "approve").is_problem(409, "budget_decided_already");
        decide(&second, "77", "approve").is_problem(404, "not_found");
        let shown = second.get(&format!("/v1/budgets?incident={INCIDENT}")).json();
        assert_eq!(shown["budgets"][0]["left"], "300", "{shown}");
        assert_eq!(shown["requests"].as_array().unwrap().len(), 2);
    });
}

#[test]
fn what_is_left_of_a_budget_is_given_back_over_http_by_two_people() {
    Redress::test(|redress| {
        redress.with_incident().with_staff().with_budget("melon", "day:melon", "300");
        let server = redress.serve();
        let (finance, second) = (redress.session(&server, "finance"), redress.session(&server, "finance-2"));
        let wanted =
            |amount: &str| json!({ "incident": INCIDENT, "service": "melon", "asset": "day:melon", "amount": amount });
        finance.post_once("/v1/budgets/release", &wanted("301")).is_problem(409, "conflict");
        let headers = [("content-type", "application/json"), ("idempotency-key", "one")];
        let asked = finance.send("POST", "/v1/budgets/release", &headers, wanted("200").to_string());
        assert_eq!((asked.status, asked.json()["kind"].as_str()), (200, Some("release")), "{}", asked.text());
        assert_eq!(finance.send("POST", "/v1/budgets/release", &headers, wanted("200").to_string()).body, asked.body);
        let beside = finance.post_once("/v1/budgets/release", &wanted("200")).json()["id"].clone();
        let approve = |who: &crate::server::Client<'_>, id: &serde_json::Value| {
            who.post_once(&format!("/v1/budgets/{id}/approve"), &json!({}))
        };
        approve(&finance, &asked.json()["id"]).is_problem(409, "second_person_needed");
        let approved = approve(&second, &asked.json()["id"]).json();
        assert_eq!((&approved["state"], &approved["kind"]), (&json!("approved"), &json!("release")));
        approve(&second, &asked.json()["id"]).is_problem(409, "budget_decided_already");
        // Only 100 are left: the other one is refused as it stands.
        approve(&second, &beside).is_problem(409, "conflict");
        let shown = second.get(&format!("/v1/budgets?incident={INCIDENT}")).json();
        assert_eq!((&shown["budgets"][0]["approved"], &shown["budgets"][0]["left"]), (&json!("100"), &json!("100")));
    });
}

#[test]
fn a_customers_credits_come_page_by_page() {
    Redress::test(|redress| {
        issued(redress, 1);
        let lines = (1..=5).map(|number| format!("p-1,melon,sub-{number},subscription,web\n")).collect::<String>();
        let roster = redress.file("many.csv", format!("customer,service,reference,kind,channel\n{lines}"));
        redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
        assert_eq!(redress.issue()["issued"], 5);
        let server = redress.serve();
        let finance = redress.session(&server, "finance");
        let page = |query: &str| finance.get(&format!("/v1/credits?customer={query}")).json();
        let ids = |page: &serde_json::Value| -> Vec<String> {
            page["credits"].as_array().unwrap().iter().map(|credit| credit["id"].as_str().unwrap().to_owned()).collect()
        };
        let all = page("p-1");
        assert_eq!((ids(&all).len(), &all["next"]), (5, &serde_json::Value::Null));
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = page(&format!("p-1&limit=2{cursor}"));
            found.extend(ids(&page));
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(found, ids(&all));
        // Another's credit is no place in this list.
        let others = &ids(&page("s-000"))[0];
        assert!(ids(&page(&format!("p-1&cursor={others}"))).is_empty());
        finance.get("/v1/credits?customer=p-1&cursor=x").is_problem(422, "invalid_request");
    });
}

#[test]
fn credits_are_listed_and_reversed_once_and_the_books_are_read_at_any_instant() {
    Redress::test(|redress| {
        issued(redress, 250);
        let server = redress.serve();
        let finance = redress.session(&server, "finance");
        let balance = |account: &str, more: &str| finance.get(&format!("/v1/ledger/accounts/{account}/balance{more}"));
        let before = balance("owed", "").json();
        assert_eq!(before["totals"][0]["balance"], "750", "{before}");
        let credit = finance.get("/v1/credits?customer=s-007").json()["credits"][0].clone();
        assert_eq!((credit["amount"].as_str(), credit["state"].as_str()), (Some("3"), Some("owed")), "{credit}");
        let path = format!("/v1/credits/{}/reverse", credit["id"].as_str().unwrap());
        let why = json!({ "reason": "credited-in-error", "customer": "s-007", "amount": "1" });
        let done = finance.post_once(&path, &why);
        assert_eq!((done.status, done.json()["corrections"][0]["owed"].as_str()), (200, Some("2")), "{}", done.text());
        finance.post_once(&path, &why).is_problem(409, "transfer_reversed_already");
        finance.post_once(&path, &json!({ "reason": "No Code" })).is_problem(422, "invalid_request");
        finance.post_once("/v1/credits/x/reverse", &why).is_problem(400, "invalid_path");
        let another = finance.get("/v1/credits?customer=s-008").json()["credits"][0]["id"].as_str().unwrap().to_owned();
        let another = format!("/v1/credits/{another}/reverse");
        for (field, value) in [("amount", "4"), ("amount", "0"), ("date", "9999-12-31")] {
            let wrong = json!({ "reason": "credited-in-error", field: value });
            let refused = finance.post_once(&another, &wrong).is_problem(409, "movement_refused");
            assert_eq!(refused["errors"][0]["pointer"], format!("/{field}"), "{refused}");
        }
        let nobodys = "/v1/credits/00000000-0000-7000-8000-000000000000/reverse";
        finance.post_once(nobodys, &why).is_problem(404, "not_found");
        // The past stays what it was; a group is named by its path.
        let at = before["at"].as_str().unwrap();
        assert_eq!(balance("owed", "").json()["totals"][0]["balance"], "749");
        assert_eq!(balance("owed", &format!("?at={at}")).json()["totals"][0]["balance"], "750");
        let provision = balance(&format!("provision%2F{INCIDENT}%2Fmelon"), "").json();
        assert_eq!(provision["totals"][0]["balance"], (100_000 - 749).to_string(), "{provision}");
        balance("nowhere", "").is_problem(404, "not_found");
        balance("owed", "?at=2999-01-01T00:00:00Z").is_problem(422, "invalid_request");
        balance("owed", "?when=now").is_problem(422, "invalid_request");
        finance.get("/v1/credits").is_problem(422, "invalid_request");

        // Every transfer once, page by page, and what comes meanwhile does not shift the pages.
        let (mut seen, mut next) = (Vec::new(), String::new());
        loop {
            let page = finance.get(&format!("/v1/ledger/transfers?limit=100{next}")).json();
            let rows = page["transfers"].as_array().unwrap();
            seen.extend(rows.iter().map(|row| format!("{} {}", row["customer"], row["transfer"])));
            if next.is_empty() {
                redress.with_budget("melon", "day:melon", "5");
            }
            let Some(cursor) = page["next"].as_str() else { break };
            next = format!("&cursor={cursor}");
        }
        assert_eq!(seen.len(), 252, "250 credits, a budget and a reversal");
        assert!(seen.is_sorted() && seen.windows(2).all(|pair| pair[0] != pair[1]));
        finance.get("/v1/ledger/transfers?cursor=abc").is_problem(422, "invalid_request");
        // A cursor of an instant to come would be an answer that changes.
        let forged = hex::encode(format!("{}/{}/a", 4_102_444_800_000_000_i64, uuid::Uuid::nil()));
        finance.get(&format!("/v1/ledger/transfers?cursor={forged}")).is_problem(422, "invalid_request");
    });
}

#[test]
fn the_reports_and_the_audit_log_say_the_same_over_http_as_at_the_command_line() {
    Redress::test(|redress| {
        redress.with_policies_of_merchants();
        let server = redress.serve();
        for (number, loss) in ["1000", "500001", "0"].iter().enumerate() {
            assert_eq!(server.claim(&number.to_string(), &merchant_claim(&format!("m-{number}"), loss)).status, 201);
        }
        assert_eq!(redress.issue()["issued"], 1);
        let auditor = redress.client(&server, "auditor", "auditor");
        for report in ["funnel", "exposure", "liability", "notice-clocks"] {
            let shown = auditor.get(&format!("/v1/reports/{report}?incident={INCIDENT}"));
            assert_eq!(shown.json(), redress.json(&["report", report, "--incident", INCIDENT]), "{report}");
            assert!(!redress.run(&["report", report]).succeeds().stdout.is_empty());
            auditor.get(&format!("/v1/reports/{report}?incident=nowhere")).is_problem(404, "not_found");
        }
        let of_messenger = |report: &str| -> serde_json::Value {
            let all = redress.json(&["report", report])["incidents"][0]["services"].clone();
            all.as_array().unwrap().iter().find(|service| service["service"] == "kakaotalk").unwrap().clone()
        };
        let funnel = of_messenger("funnel");
        let figures =
            ["customers", "credited_automatically", "sent", "granted", "credited", "declined", "waiting_for_operator"];
        assert_eq!(figures.map(|figure| funnel[figure].as_i64().unwrap()), [3, 0, 3, 1, 1, 1, 1], "{funnel}");
        // The outage ended in October 2022; the policies of this test came into force just now.
        let clock = of_messenger("notice-clocks");
        assert_eq!(clock["state"], "late", "{clock}");
        let ended: chrono::DateTime<chrono::Utc> = clock["ended_at"].as_str().unwrap().parse().unwrap();
        let due: chrono::DateTime<chrono::Utc> = clock["due_at"].as_str().unwrap().parse().unwrap();
        assert_eq!((due - ended).num_days(), 30);

        let log = auditor.get("/v1/audit").json();
        let entries = log["entries"].as_array().unwrap();
        assert!(
            entries.len() > 10 && entries.is_sorted_by_key(|entry| std::cmp::Reverse(entry["id"].as_i64())),
            "{log}"
        );
        let of_run = auditor.get("/v1/audit?object=run%201").json();
        let actions: Vec<&str> =
            of_run["entries"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).collect();
        assert_eq!(actions, ["run.done", "run.open"]);
        let older = auditor.get(&format!("/v1/audit?before={}", entries[1]["id"])).json();
        assert_eq!(older["entries"][0], entries[2]);
        auditor.get("/v1/audit?before=x").is_problem(422, "invalid_request");
    });
}

impl Redress {
    /// An installation whose messenger takes the claims of three merchants.
    fn with_policies_of_merchants(&self) {
        self.with_incident().with_staff().with_policies(&["kakaotalk-merchant-loss"]);
        self.with_budget("kakaotalk", "KRW", "1000000");
        let roster = self.file("merchants.csv", merchants(&["m-0", "m-1", "m-2"]));
        self.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
    }
}

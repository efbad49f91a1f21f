//! Deliveries: whatever a service answers, does not answer or does while nobody looks, each credit is granted once, and
//! what is not granted is seen.

mod faults;
mod later;
mod reversals;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::harness::{INCIDENT, Ran, Redress};
use crate::kills::ready_to_issue;
use crate::peer::{Call, Mood, Peer};

/// An installation that has issued three days of Melon to so many customers, and its service.
fn issued(redress: &Redress, customers: u32) {
    ready_to_issue(redress, 0);
    let mut roster = String::from("customer,service,reference,kind,channel\n");
    (0..customers).for_each(|number| roster.push_str(&format!("s-{number:05},melon,sub,subscription,web\n")));
    let roster = redress.file("subscribers.csv", roster);
    redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
    assert_eq!(redress.issue()["issued"], customers);
    redress.run(&["staff", "add", "root", "--role", "administrator"]).succeeds();
}

/// Registers a service's address and returns the secret.
fn register(redress: &Redress, service: &str, peer: &Peer) -> String {
    let args = ["webhook", "add", "--service", service, "--url", &peer.url, "--as", "root"];
    redress.json(&args)["secret"].as_str().unwrap().to_owned()
}

/// The same with an installation that has issued.
fn with_peer(redress: &Redress, customers: u32) -> (Peer, String) {
    issued(redress, customers);
    let peer = Peer::start();
    let secret = register(redress, "melon", &peer);
    (peer, secret)
}

fn deliver(redress: &Redress) -> Ran {
    let args = ["deliver", "--format", "json"];
    Ran::of(redress.command(&args).env("REDRESS_WEBHOOK_SECONDS", "1").output().unwrap(), &args)
}

/// A pass: answered, granted, refused, awaiting, postponed, dead.
fn pass(redress: &Redress) -> [u64; 6] {
    let ran = deliver(redress);
    let pass = ran.json();
    let figures =
        ["sent", "delivered", "refused", "awaiting", "postponed", "dead"].map(|name| pass[name].as_u64().unwrap());
    assert_eq!(ran.code, Some(i32::from(figures[2] + figures[5] > 0)), "{pass} {}", ran.stderr);
    figures
}

/// Lets everything that waits be due.
fn due(redress: &Redress) {
    redress.sql(
        "UPDATE delivery SET next_at = now() - interval '1 minute' WHERE state IN ('queued', 'awaiting');
         UPDATE webhook SET retry_at = NULL",
    );
}

/// The states of all deliveries, in the order of their ids.
fn states(redress: &Redress) -> String {
    redress.text("SELECT coalesce(string_agg(state, ' ' ORDER BY id), '') FROM delivery")
}

/// How many credits were delivered in the ledger, and how many more than once.
fn delivered(redress: &Redress) -> (i64, i64) {
    (
        redress.number("SELECT count(*) FROM transfer WHERE code = 3"),
        redress.number("SELECT count(*) FROM (SELECT FROM credit_movement WHERE code = 3 GROUP BY customer_id, credit_id HAVING count(*) > 1) AS twice"),
    )
}

/// Every credit, granted this often.
fn each(redress: &Redress, times: u32) -> BTreeMap<(String, String), u32> {
    let all = redress.text("SELECT string_agg(customer_id || ' ' || id, E'\\n') FROM transfer WHERE code = 2");
    all.lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(c, id)| ((c.to_owned(), id.to_owned()), times))
        .collect()
}

fn ids(calls: &[Call]) -> Vec<String> {
    calls.iter().map(|call| call.id.clone()).collect()
}

fn balance(redress: &Redress, account: &str) -> String {
    redress.json(&["ledger", "balance", account])["balances"][0]["balance"].as_str().unwrap_or("0").to_owned()
}

#[test]
fn what_was_issued_is_delivered_once_in_signed_batches() {
    Redress::test(|redress| {
        issued(redress, 2_500);
        // Nobody is told as long as there is nobody to tell, and that is said.
        assert_eq!(pass(redress), [0; 6]);
        let list = redress.json(&["deliver", "--list"]);
        assert_eq!((&list["services"][0]["by"], &list["services"][0]["unplanned"]), (&"by-hand".into(), &2_500.into()));
        assert!(redress.run(&["deliver", "--list"]).succeeds().stdout.contains("by-hand"));
        assert!(redress.run(&["report", "liability"]).succeeds().stdout.contains("What melon owe stays owed"));
        let peer = Peer::start();
        let secret = register(redress, "melon", &peer);
        assert_eq!(redress.json(&["report", "liability"])["incidents"][0]["lines"][0]["delivery"], "webhook");
        assert_eq!(pass(redress), [3, 2_500, 0, 0, 0, 0]);
        let calls = peer.calls();
        assert_eq!(calls.len(), 3);
        assert!(calls.iter().all(|call| call.is_signed_with(&secret)));
        assert!(!calls[0].is_signed_with("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), "the peer takes any signature");
        let told = calls[0].json();
        assert_eq!(
            (&told["type"], &told["data"]["delivery"]),
            (&"credits.deliver".into(), &calls[0].id.clone().into())
        );
        let first = &told["data"]["credits"][0];
        let (asset, amount, attempt) = (&first["asset"], &first["amount"], &first["attempt"]);
        assert_eq!((asset, amount, attempt), (&"day:melon".into(), &"3".into(), &1.into()), "{first}");
        assert_eq!((&first["policy"], &first["incident"]), (&"melon".into(), &INCIDENT.into()));
        assert_eq!(peer.granted(), each(redress, 1));
        assert_eq!(delivered(redress), (2_500, 0));
        assert_eq!((balance(redress, "delivered"), balance(redress, "owed/day:melon")), ("7500".into(), "0".into()));
        assert_eq!(states(redress), "done done done");
        assert_eq!(pass(redress), [0; 6]);
        assert_eq!(peer.calls().len(), 3);
        // The log has each batch, and no secret is anywhere.
        assert_eq!(
            redress.number("SELECT count(*) FROM audit WHERE action = 'credit.deliver' AND object LIKE 'delivery %'"),
            3
        );
        let key = secret.strip_prefix("whsec_").unwrap();
        for table in ["audit", "webhook", "delivery"] {
            let rows = redress.text(&format!("SELECT coalesce(string_agg(t::text, ' '), '') FROM {table} AS t"));
            assert!(!rows.contains(key) && !rows.is_empty(), "{table}");
        }
        // What is issued later goes later.
        let more =
            redress.file("more.csv", "customer,service,reference,kind,channel\nt-1,melon,sub,subscription,web\n");
        redress.run(&["roster", "import", &more, "--incident", INCIDENT]).succeeds();
        assert_eq!(redress.issue()["issued"], 1);
        assert_eq!(pass(redress), [1, 1, 0, 0, 0, 0]);
        assert_eq!(peer.granted(), each(redress, 1));
    });
}

#[test]
fn a_server_delivers_by_itself() {
    Redress::test(|redress| {
        let (peer, _) = with_peer(redress, 20);
        let server = redress.serve();
        crate::harness::wait_until("the worker has delivered", || delivered(redress).0 == 20);
        assert_eq!(peer.granted(), each(redress, 1));
        assert_eq!(server.stop(), Some(0));
    });
}

#[test]
fn two_workers_at_once_send_each_batch_once() {
    Redress::test(|redress| {
        let (peer, _) = with_peer(redress, 8_000);
        let passes: Vec<Value> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..2).map(|_| scope.spawn(|| deliver(redress).succeeds().json())).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).collect()
        });
        let sum = |name: &str| passes.iter().map(|pass| pass[name].as_u64().unwrap()).sum::<u64>();
        let batches = redress.number("SELECT count(*) FROM delivery").unsigned_abs();
        assert_eq!((sum("sent"), sum("delivered")), (batches, 8_000), "{passes:?}");
        assert!(peer.calls().len() as u64 == batches && batches >= 8);
        assert_eq!(peer.granted(), each(redress, 1));
        assert_eq!(delivered(redress), (8_000, 0));
    });
}

#[test]
fn what_a_service_refuses_is_seen_kept_owed_and_sent_again_when_a_person_says_so() {
    Redress::test(|redress| {
        let (peer, _) = with_peer(redress, 6);
        let credit = |number: u32| {
            redress.text(&format!("SELECT id FROM transfer WHERE code = 2 AND customer_id = 's-0000{number}'"))
        };
        peer.set(Mood::Results(serde_json::json!([
            { "credit": credit(1), "status": "refused", "reason": "Account closed!" },
            { "credit": credit(2), "status": "refused" },
            { "credit": credit(3), "status": "delivered", "amount": "1" },
        ])));
        assert_eq!(pass(redress), [1, 4, 3, 0, 0, 0]);
        assert_eq!(states(redress), "refused");
        assert_eq!((balance(redress, "delivered"), balance(redress, "owed/day:melon")), ("10".into(), "8".into()));
        assert!(redress.run(&["doctor"]).fails(1, "").stdout.contains("1 were refused in part"));
        let server = redress.serve();
        let finance = redress.client(&server, "finance", "finance");
        let list = finance.get("/v1/deliveries").json();
        let id = list["deliveries"][0]["id"].as_str().unwrap().to_owned();
        assert_eq!(
            (&list["deliveries"][0]["refused"], &list["services"][0]["refused"]),
            (&3.into(), &1.into()),
            "{list}"
        );
        let shown = finance.get(&format!("/v1/deliveries/{id}")).json();
        let told: Vec<(&str, &str, &str)> = shown["refusals"]
            .as_array()
            .unwrap()
            .iter()
            .map(|no| (no["customer"].as_str().unwrap(), no["reason"].as_str().unwrap(), no["owed"].as_str().unwrap()))
            .collect();
        let expected =
            [("s-00001", "account-closed", "3"), ("s-00002", "refused", "3"), ("s-00003", "partly-delivered", "2")];
        assert_eq!(told, expected, "{shown}");
        assert!(server.get("/metrics", &[]).text().contains("redress_deliveries{state=\"refused\"} 1"));
        // Whoever works for another service sees and sends none of it.
        redress.run(&["staff", "add", "other", "--role", "finance", "--service", "webtoon"]).succeeds();
        let other = redress.session(&server, "other");
        let seen = other.get("/v1/deliveries").json();
        assert!(seen["deliveries"] == serde_json::json!([]) && seen["services"] == serde_json::json!([]), "{seen}");
        other.get(&format!("/v1/deliveries/{id}")).is_problem(404, "not_found");
        other.post_once(&format!("/v1/deliveries/{id}/retry"), &serde_json::json!({})).is_problem(404, "not_found");
        // One is settled otherwise; the rest goes again, as something new, and only that.
        redress.run(&["credit", "write-off", &credit(2), "--reason", "account-closed", "--as", "finance"]).succeeds();
        peer.set(Mood::Grant);
        let again = finance.post_once(&format!("/v1/deliveries/{id}/retry"), &serde_json::json!({})).json();
        assert_eq!((&again["retry_of"], &again["credits"]), (&id.clone().into(), &2.into()), "{again}");
        let twice = finance.post_once(&format!("/v1/deliveries/{id}/retry"), &serde_json::json!({})).json();
        assert_eq!(twice["id"], again["id"], "asking twice is once");
        crate::harness::wait_until("it has gone", || states(redress) == "retried done");
        let calls = peer.calls();
        let second: Vec<(Value, Value, Value)> = calls[1].json()["data"]["credits"]
            .as_array()
            .unwrap()
            .iter()
            .map(|credit| (credit["customer"].clone(), credit["amount"].clone(), credit["attempt"].clone()))
            .collect();
        let expected = [("s-00001".into(), "3".into(), 1.into()), ("s-00003".into(), "2".into(), 2.into())];
        assert_eq!(second, expected);
        assert!(calls[0].id != calls[1].id);
        assert_eq!((balance(redress, "delivered"), balance(redress, "owed/day:melon")), ("15".into(), "0".into()));
        finance
            .post_once(&format!("/v1/deliveries/{}/retry", again["id"].as_str().unwrap()), &serde_json::json!({}))
            .is_problem(409, "conflict");
        assert!(redress.run(&["doctor"]).stdout.contains("ok   deliveries: 0 wait, 0 await"));
    });
}

#[test]
fn webhooks_are_registered_by_administrators_rotated_and_removed() {
    Redress::test(|redress| {
        let (peer, first) = with_peer(redress, 1);
        let url = peer.url.clone();
        let add = |service: &str, url: &str, by: &str| {
            redress.run(&["webhook", "add", "--service", service, "--url", url, "--as", by])
        };
        add("melon", &url, "root").refuses("remove that one first");
        add("webtoon", &url, "finance").refuses("may not do this");
        add("nowhere", &url, "root").is_misused("--service: there is no service nowhere");
        add("webtoon", "ftp://x/", "root").is_misused("--url: must begin with https://");
        let server = redress.serve();
        let root = redress.client(&server, "root", "administrator");
        let order = |order: Value| root.post_once("/v1/webhooks", &order);
        for (wrong, pointer) in [
            (serde_json::json!({ "url": "x", "events": ["credits.deliver"], "service": "webtoon" }), "/url"),
            (serde_json::json!({ "url": url, "events": ["credits.take"], "service": "webtoon" }), "/events/0"),
            (serde_json::json!({ "url": url, "events": ["credits.deliver"] }), "/service"),
        ] {
            let problem = order(wrong).is_problem(422, "invalid_request");
            assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
        }
        let made = order(serde_json::json!({ "url": url, "events": ["credits.deliver"], "service": "webtoon" }));
        assert_eq!(made.status, 201, "{}", made.text());
        assert!(made.json()["secret"].as_str().unwrap().starts_with("whsec_"));
        let list = root.get("/v1/webhooks");
        assert!(
            list.json()["webhooks"].as_array().unwrap().len() == 2 && !list.text().contains("whsec_"),
            "{}",
            list.text()
        );
        // While a secret is rotated both sign.
        let id = list.json()["webhooks"][1]["id"].as_str().unwrap().to_owned();
        crate::harness::wait_until("the server has delivered", || delivered(redress).0 == 1);
        drop(server);
        let second = redress.json(&["webhook", "rotate", &id, "--as", "root"])["secret"].as_str().unwrap().to_owned();
        let again =
            redress.file("again.csv", "customer,service,reference,kind,channel\nt-1,melon,sub,subscription,web\n");
        redress.run(&["roster", "import", &again, "--incident", INCIDENT]).succeeds();
        redress.issue();
        assert_eq!(pass(redress), [1, 1, 0, 0, 0, 0]);
        let call = peer.calls().pop().unwrap();
        assert!(call.is_signed_with(&first) && call.is_signed_with(&second) && first != second);
        redress.sql("UPDATE webhook SET previous_until = now() WHERE previous_until IS NOT NULL");
        redress.run(&["webhook", "remove", &id, "--as", "root"]).succeeds();
        redress.run(&["webhook", "remove", &id, "--as", "root"]).refuses("there is no webhook");
        // In production addresses are https.
        let key = |name: &str| std::fs::read_to_string(redress.folder.path().join("secrets").join(name)).unwrap();
        let args = ["webhook", "add", "--service", "melon", "--url", url.as_str(), "--as", "root"];
        let mut production = redress.command(&args);
        production.env("REDRESS_PRODUCTION", "true").env("REDRESS_MASTER_KEY", key("master.key").trim());
        production
            .env("REDRESS_SIGNING_KEY", key("signing.key").trim())
            .env("REDRESS_SMTP_URL", "smtps://mail.example");
        Ran::of(production.output().unwrap(), &args).is_misused("must begin with https:// in production");
        assert!(redress.run(&["webhook", "list", "--all"]).succeeds().stdout.contains("off: removed by root"));
    });
}

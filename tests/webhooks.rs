//! Webhooks of claims: others are told what happened, with ids only, signed, once under one id, and what could not be told
//! is seen.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;

use redress_store::failpoint::{CRASH_AT, CallPoint};
use serde_json::{Value, json};

use crate::harness::{INCIDENT, Ran, Redress, merchant_claim, merchants, wait_until};
use crate::peer::{Mood, Peer};

/// Merchants whose claims a policy decides, and somebody who wants to hear of it. Calls are held back until a test lets them.
fn with_peer(redress: &Redress, events: &[&str], more: &[&str]) -> (Peer, String, String) {
    redress.with_incident().with_staff().with_policies(&["kakaotalk-merchant-loss"]);
    let roster = redress.file("r.csv", merchants(&["m-1", "m-2", "m-3", "m-4"]));
    redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
    redress.run(&["staff", "add", "root", "--role", "administrator"]).succeeds();
    let peer = Peer::start();
    let (id, secret) = register(redress, &peer, events, more);
    redress.sql("UPDATE webhook SET retry_at = now() + interval '1 day'");
    (peer, id, secret)
}

fn register(redress: &Redress, peer: &Peer, events: &[&str], more: &[&str]) -> (String, String) {
    let mut args = vec!["webhook", "add", "--url", &peer.url, "--as", "root"];
    events.iter().for_each(|event| args.extend(["--event", event]));
    args.extend(more);
    let made = redress.json(&args);
    (made["id"].as_str().unwrap().to_owned(), made["secret"].as_str().unwrap().to_owned())
}

/// A pass over the webhooks: sent, postponed, dead.
fn pass(redress: &Redress) -> (u64, u64, u64) {
    redress
        .sql("UPDATE webhook SET retry_at = NULL; UPDATE webhook_message SET next_at = now() WHERE state = 'queued'");
    let args = ["deliver", "--format", "json"];
    let ran = Ran::of(redress.command(&args).env("REDRESS_WEBHOOK_SECONDS", "1").output().unwrap(), &args);
    let told = ran.json()["webhooks"].clone();
    let figure = |name: &str| told[name].as_u64().unwrap();
    (figure("sent"), figure("postponed"), figure("dead"))
}

fn states(redress: &Redress) -> String {
    redress.text("SELECT coalesce(string_agg(state || ' ' || count, ', '), '') FROM (SELECT state, count(*) FROM webhook_message GROUP BY 1 ORDER BY 1) AS s")
}

#[test]
fn others_are_told_what_happens_to_claims_and_nothing_about_people() {
    Redress::test(|redress| {
        let wanted = ["claim.received", "claim.decided", "claim.credited", "claim.withdrawn"];
        let (peer, _, secret) = with_peer(redress, &wanted, &[]);
        let other = Peer::start();
        register(redress, &other, &["claim.received"], &["--service", "melon"]);
        redress.sql("UPDATE webhook SET retry_at = now() + interval '1 day'");
        redress.with_budget("kakaotalk", "KRW", "1000000");
        let server = redress.serve();
        let filed = server.claim("a", &merchant_claim("m-1", "250000")).json();
        // Whoever gave no address is told nothing; others who want to are.
        let mut silent = merchant_claim("m-2", "0");
        silent["contact"] = json!({ "language": "ko" });
        let declined = server.claim("b", &silent).json();
        assert_eq!(declined["status"], "declined", "{declined}");
        server.claim("a", &merchant_claim("m-1", "250000"));
        assert_eq!(redress.issue()["issued"], 1);
        redress.sql("UPDATE webhook SET retry_at = NULL");
        wait_until("the server has told", || states(redress) == "sent 5");
        let mut told: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
        for call in peer.calls() {
            assert!(call.is_signed_with(&secret));
            let text = String::from_utf8(call.body.clone()).unwrap();
            for private in ["m-1", "m-2", "example.com", "250000", "주문"] {
                assert!(!text.contains(private), "{text}");
            }
            let body = call.json();
            let names: Vec<&String> = body["data"].as_object().unwrap().keys().collect();
            assert_eq!(names, ["claim", "incident", "reference", "service", "status"], "{body}");
            let of = |value: &Value| value.as_str().unwrap().to_owned();
            let key = (of(&body["data"]["claim"]), of(&body["type"]));
            told.entry(key).or_default().push(of(&body["data"]["status"]));
        }
        let of = |claim: &Value, event: &str| {
            told.get(&(claim["id"].as_str().unwrap().to_owned(), event.to_owned())).cloned()
        };
        let once = |status: &str| Some(vec![status.to_owned()]);
        assert_eq!(of(&filed, "claim.received"), once("approved"));
        assert_eq!(of(&filed, "claim.decided"), once("approved"));
        assert_eq!(of(&filed, "claim.credited"), once("issued"));
        assert_eq!(of(&declined, "claim.decided"), once("declined"));
        assert_eq!(told.len(), 5, "{told:?}");
        assert!(!peer.calls()[0].json()["data"]["reference"].as_str().unwrap().is_empty());
        assert!(other.calls().is_empty(), "claims of another service");
        assert!(server.get("/metrics", &[]).text().contains("redress_webhook_messages{state=\"queued\"} 0"));
    });
}

#[test]
fn where_nobody_wants_to_hear_nothing_is_written() {
    Redress::test(|redress| {
        let (_peer, _, _) = with_peer(redress, &["claim.withdrawn"], &[]);
        let server = redress.serve();
        assert_eq!(server.claim("a", &merchant_claim("m-1", "1")).status, 201);
        assert_eq!(redress.number("SELECT count(*) FROM webhook_message"), 0);
        for (events, wrong) in [
            (json!(["claim.lost"]), "/events/0"),
            (json!(["claim.decided", "credits.deliver"]), "/events/1"),
            (json!(["claim.decided", "claim.decided"]), "/events/1"),
            (json!([]), "/events"),
        ] {
            let root = redress.session(&server, "root");
            let problem = root.post_once("/v1/webhooks", &json!({ "url": "https://x.example/", "events": events }));
            assert_eq!(problem.is_problem(422, "invalid_request")["errors"][0]["pointer"], wrong, "{events}");
        }
    });
}

#[test]
fn what_could_not_be_told_goes_again_under_its_id_and_is_seen_when_it_does_not() {
    Redress::test(|redress| {
        let (peer, id, _) = with_peer(redress, &["claim.received", "claim.decided"], &[]);
        let server = redress.serve();
        for name in ["m-1", "m-2"] {
            assert_eq!(server.claim(name, &merchant_claim(name, "1000")).status, 201);
        }
        drop(server);
        assert_eq!(states(redress), "queued 4");
        for mood in
            [Mood::Say(500, "text/plain", ""), Mood::HangUpBefore, Mood::Stall, Mood::Say(302, "text/plain", "")]
        {
            peer.set(mood);
            assert_eq!(pass(redress), (0, 1, 0), "it is left alone after one failure");
        }
        peer.set(Mood::Grant);
        assert_eq!(pass(redress), (4, 0, 0));
        let calls = peer.calls();
        let mut said: BTreeMap<String, BTreeSet<Vec<u8>>> = BTreeMap::new();
        for call in &calls {
            said.entry(call.id.clone()).or_default().insert(call.body.clone());
        }
        assert_eq!((calls.len(), said.len()), (8, 4));
        assert!(said.values().all(|bodies| bodies.len() == 1), "the same id says something else");
        // Sent ones can be told again, under their ids.
        let again = calls[7].id.clone();
        let done = redress.json(&["webhook", "redeliver", &id, "--message", &again, "--as", "root"]);
        assert_eq!((done["queued"].as_u64(), pass(redress)), (Some(1), (1, 0, 0)));
        assert_eq!(peer.calls()[8].id, again);
        // Too many failures in a row: whatever waits is dead, and a person sees it.
        let done = redress.json(&[
            "webhook",
            "redeliver",
            &id,
            "--message",
            &again,
            "--message",
            &calls[4].id,
            "--as",
            "root",
        ]);
        assert_eq!(done["queued"], 2);
        redress.sql("UPDATE webhook SET failures = 29, failing_since = now(), last_error = 'x'");
        peer.set(Mood::Say(503, "text/plain", ""));
        assert_eq!((pass(redress), states(redress).as_str()), ((0, 0, 2), "dead 2, sent 2"));
        assert!(redress.run(&["doctor"]).fails(1, "").stdout.contains("2 messages did not go"));
        let server = redress.serve();
        let root = redress.session(&server, "root");
        let dead = root.get(&format!("/v1/webhooks/{id}/messages")).json();
        assert_eq!(
            (dead["messages"].as_array().unwrap().len(), &dead["messages"][0]["last_error"]),
            (2, &"it answered 503".into())
        );
        root.get(&format!("/v1/webhooks/{id}/messages?state=lost")).is_problem(422, "invalid_request");
        peer.set(Mood::Grant);
        let path = format!("/v1/webhooks/{id}/redeliver");
        assert_eq!(root.post_once(&path, &json!({})).json(), json!({ "queued": 2 }));
        assert_eq!(root.post_once(&path, &json!({ "ids": [] })).json()["queued"].as_u64().unwrap() % 2, 0);
        wait_until("they have gone", || states(redress) == "sent 4");
        // Whoever wants to hear nothing any more is told nothing.
        peer.set(Mood::Say(410, "text/plain", ""));
        server.claim("m-3", &merchant_claim("m-3", "1000"));
        wait_until("the webhook is off", || {
            redress.number("SELECT count(*) FROM webhook WHERE disabled_at IS NOT NULL") == 1
        });
        server.claim("m-4", &merchant_claim("m-4", "1000"));
        assert_eq!(redress.number("SELECT count(*) FROM webhook_message WHERE state <> 'sent'"), 2);
        root.post_once(&path, &json!({})).is_problem(404, "not_found");
    });
}

#[test]
fn what_waits_for_a_webhook_that_is_removed_is_dropped() {
    Redress::test(|redress| {
        let (peer, id, _) = with_peer(redress, &["claim.received"], &[]);
        let server = redress.serve();
        server.claim("m-1", &merchant_claim("m-1", "1000"));
        redress.run(&["webhook", "remove", &id, "--as", "root"]).succeeds();
        assert_eq!((states(redress).as_str(), peer.calls().len()), ("dropped 1", 0));
    });
}

#[test]
fn killed_around_a_call_every_event_is_told_under_one_id() {
    Redress::test(|redress| {
        let (_peer, _, _) = with_peer(redress, &["claim.received", "claim.decided"], &[]);
        let server = redress.serve();
        for name in ["m-1", "m-2"] {
            server.claim(name, &merchant_claim(name, "1000"));
        }
        drop(server);
        let all = redress.text("SELECT string_agg(id::text, ' ' ORDER BY id::text) FROM webhook_message");
        for point in CallPoint::ALL {
            let copy = redress.copy();
            let peer = Peer::start();
            copy.sql(&format!("UPDATE webhook SET url = '{}', retry_at = NULL", peer.url));
            let died = copy.command(&["deliver"]).env(CRASH_AT, format!("{}:2", point.as_str())).output().unwrap();
            assert_eq!(died.status.signal(), Some(9), "{point:?}");
            pass(&copy);
            assert_eq!(states(&copy), "sent 4", "{point:?}");
            let mut told: Vec<String> = peer.calls().into_iter().map(|call| call.id).collect();
            let calls = told.len();
            told.sort();
            told.dedup();
            assert_eq!(told.join(" "), all, "{point:?}");
            let again = matches!(point, CallPoint::Answered | CallPoint::Recording);
            assert_eq!(calls, 4 + usize::from(again), "{point:?}");
        }
    });
}

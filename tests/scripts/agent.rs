//! An agent's day: comes in by the front door, takes what is oldest, is seen at it, asks, decides, has large things signed,
//! decides many at once, takes up again what was wrong, answers enquiries, and files for those who call.

use serde_json::{Value, json};
use totp_rs::Totp;

use super::{issue, ok, on, operator};
use crate::harness::{Client, Redress, Server, merchant_claim, wait_until};

const JSON: (&str, &str) = ("content-type", "application/json");

/// A new member sets password and authenticator with the token that he was given, and is in.
fn signs_up<'a>(redress: &Redress, server: &'a Server, name: &str, role: &str) -> Client<'a> {
    let token = redress.json(&["staff", "add", name, "--role", role])["setup_token"].as_str().unwrap().to_owned();
    let post = |path: &str, body: &Value| server.post(path, &[JSON], body.to_string());
    let begun = post("/v1/session/setup", &json!({ "token": token, "password": "correct horse 7 battery" })).json();
    let authenticator = Totp::from_url(begun["otpauth_uri"].as_str().unwrap()).unwrap();
    let now = redress.number("SELECT floor(extract(epoch FROM now()))").cast_unsigned();
    let code = authenticator.generate(now).to_string();
    let confirmed = post("/v1/session/setup/confirm", &json!({ "token": token, "code": code, "bearer": true }));
    assert_eq!(confirmed.status, 201, "{}", confirmed.text());
    Client { server, token: confirmed.json()["token"].as_str().unwrap().to_owned() }
}

fn next(who: &Client<'_>) -> Value {
    ok(&who.post_once("/v1/claims/next", &json!({})))["claim"].clone()
}

fn path_of(claim: &Value) -> String {
    format!("/v1/claims/{}", claim["id"].as_str().unwrap())
}

/// Decides a claim as it stands.
fn decides(who: &Client<'_>, path: &str, decision: &Value) -> crate::harness::Answer {
    on(&ok(&who.get(path)), who, "POST", &format!("{path}/decision"), decision)
}

fn grants(amount: &str) -> Value {
    json!({ "outcome": "approve", "awards": [{ "asset": "KRW", "amount": amount }] })
}

#[test]
fn an_agents_day() {
    Redress::test(|redress| {
        let server = operator(redress);
        let ann = signs_up(redress, &server, "ann", "agent");
        let lea = signs_up(redress, &server, "lea", "lead");
        let bob = redress.client(&server, "bob", "agent");
        let losses = ["900000", "910000", "920000", "930000", "940000"];
        let filed: Vec<Value> = (1..)
            .zip(losses)
            .map(|(number, loss)| {
                server.claim(&format!("k-{number}"), &merchant_claim(&format!("m-{number}"), loss)).json()
            })
            .collect();
        assert!(filed.iter().all(|claim| claim["status"] == "in_review"), "{filed:?}");

        // The oldest comes first, it is hers for a while, and everybody sees who is at it.
        let first = next(&ann);
        assert_eq!((&first["id"], first["desk"]["reader"].as_str()), (&filed[0]["id"], Some("ann")));
        let path = path_of(&first);
        let seen = ok(&bob.get(&path));
        assert!(seen["desk"]["reader"] == "ann" && seen["desk"]["leased_until"].is_string(), "{seen}");
        let listed = ok(&bob.get("/v1/claims?status=in_review"));
        let readers: Vec<Option<&str>> =
            listed["claims"].as_array().unwrap().iter().map(|claim| claim["reader"].as_str()).collect();
        assert_eq!(readers, [Some("ann"), None, None, None, None]);
        bob.post_once(&format!("{path}/lease"), &json!({})).is_problem(409, "claim_held");
        decides(&bob, &path, &grants("1")).is_problem(409, "claim_held");
        assert_eq!(next(&bob)["id"], filed[1]["id"]);

        // She asks; it leaves the queue until it is answered, reminders go out, and silence declines nothing.
        ok(&ann.post_once(&format!("{path}/messages"), &json!({ "text": "Thank you, we are looking." })));
        ok(&ann.post_once(&format!("{path}/request-information"), &json!({ "text": "Which week?", "days": 10 })));
        let due = |days: u32| {
            redress.sql(&format!("UPDATE task SET due_at = due_at - interval '{days} days' WHERE due_at IS NOT NULL"))
        };
        let reminders = || redress.number("SELECT count(*) FROM notice WHERE event = 'reminder'");
        for (days, sent) in [(4, 1), (5, 2)] {
            due(days);
            wait_until("a reminder is queued", || reminders() == sent);
            assert_eq!(ok(&ann.get(&path))["status"], "needs_information");
        }
        due(2);
        wait_until("it is back", || ok(&ann.get(&path))["status"] == "in_review");

        // What was seen must be what is decided on; a decline says why.
        let old = ok(&ann.get(&path));
        let decision = format!("{path}/decision");
        ann.post_once(&decision, &grants("100000")).is_problem(428, "precondition_required");
        ok(&bob.post_once(&format!("{path}/messages"), &json!({ "text": "A word from a colleague." })));
        on(&old, &ann, "POST", &decision, &grants("100000")).is_problem(412, "stale");
        decides(&ann, &path, &json!({ "outcome": "decline" })).is_problem(422, "invalid_request");

        // More than she may alone: it waits for a second signature, which is not hers to give.
        let waits = ok(&decides(&ann, &path, &grants("400000")));
        assert_eq!((waits["status"].as_str(), waits["desk"]["queue"].as_str()), (Some("in_review"), Some("signature")));
        let sign = format!("{path}/approve-decision");
        let yes = json!({ "approve": true });
        on(&waits, &ann, "POST", &sign, &yes).is_problem(403, "forbidden");
        let signatures = json!({ "queue": "signature" });
        assert!(ok(&ann.post_once("/v1/claims/next", &signatures))["claim"].is_null());
        assert_eq!(ok(&lea.post_once("/v1/claims/next", &signatures))["claim"]["id"], first["id"]);
        assert_eq!(ok(&on(&waits, &lea, "POST", &sign, &yes))["status"], "approved");
        assert_eq!(issue(redress, &server), 1);

        // It was too little: taken up again by somebody else, and the difference is paid, once.
        let why = json!({ "reason": "second-week-counts" });
        assert_eq!(ok(&bob.post_once(&format!("{path}/reopen"), &why))["status"], "in_review");
        assert_eq!(issue(redress, &server), 0, "what holds is paid already");
        let more = ok(&decides(&lea, &path, &grants("450000")));
        assert_eq!(more["status"], "approved", "within a lead's own limit");
        assert_eq!(issue(redress, &server), 1);
        let credits = ok(&redress.session(&server, "finance").get("/v1/credits?customer=m-1"));
        let mut amounts: Vec<&str> =
            credits["credits"].as_array().unwrap().iter().map(|credit| credit["amount"].as_str().unwrap()).collect();
        amounts.sort_unstable();
        assert_eq!(amounts, ["400000", "50000"]);

        // Many at once: seen first, done as seen, refused when anything changed meanwhile.
        ok(&bob.post_once(&format!("{}/release", path_of(&filed[1])), &json!({})));
        let ids: Vec<&Value> = filed[1..4].iter().map(|claim| &claim["id"]).collect();
        let mut many =
            json!({ "claims": ids, "decision": { "outcome": "decline", "reasons": ["proof-insufficient"] } });
        let preview = ok(&ann.post_once("/v1/decisions/bulk", &many));
        assert_eq!((preview["committed"].as_bool(), preview["decided"].as_i64()), (Some(false), Some(3)), "{preview}");
        many["commit"] = preview["hash"].clone();
        ok(&bob.post_once(&format!("{}/messages", path_of(&filed[2])), &json!({ "text": "One moment." })));
        ann.post_once("/v1/decisions/bulk", &many).is_problem(409, "preview_changed");
        many.as_object_mut().unwrap().remove("commit");
        many["commit"] = ok(&ann.post_once("/v1/decisions/bulk", &many))["hash"].clone();
        assert_eq!(ok(&ann.post_once("/v1/decisions/bulk", &many))["committed"], true);
        assert_eq!(ok(&ann.get(&path_of(&filed[3])))["status"], "declined");

        // An appeal against one of them comes to a colleague and not to her.
        let appellant = Client { server: &server, token: filed[3]["token"].as_str().unwrap().to_owned() };
        let appealed = path_of(&filed[3]);
        ok(&appellant.post_once(&format!("{appealed}/appeal"), &json!({ "text": "I sent the sheet." })));
        ann.post_once(&format!("{appealed}/assign"), &json!({ "to": "ann" })).is_problem(403, "four_eyes");
        decides(&ann, &appealed, &grants("1000")).is_problem(403, "four_eyes");
        ok(&bob.post_once(&format!("{appealed}/assign"), &json!({ "to": "bob" })));
        assert_eq!(next(&bob)["id"], filed[3]["id"]);
        assert_eq!(ok(&decides(&bob, &appealed, &grants("200000")))["status"], "approved");

        // For somebody on the telephone, with the checks of any other; and an enquiry that was not answered well enough.
        let mut call = merchant_claim("m-9", "250000");
        call["channel"] = json!("phone");
        let called = ann.post_once("/v1/claims", &call);
        assert_eq!((called.status, called.json()["status"].as_str()), (201, Some("approved")), "{}", called.text());
        let mut enquiry = merchant_claim("m-10", "0");
        enquiry["kind"] = json!("enquiry");
        enquiry["facts"] = json!({});
        let asked = server.claim("enquiry", &enquiry).json();
        assert!(asked["status"] == "closed" && asked["reply"]["en"].is_string(), "{asked}");
        let asker = Client { server: &server, token: asked["token"].as_str().unwrap().to_owned() };
        ok(&asker.post_once(&format!("{}/messages", path_of(&asked)), &json!({ "text": "And for my second shop?" })));
        let given = ok(&ann.post_once("/v1/claims/next", &json!({ "queue": "enquiry" })))["claim"].clone();
        assert_eq!(given["id"], asked["id"]);
        let answer = json!({ "text": "The same holds for it." });
        assert_eq!(ok(&ann.post_once(&format!("{}/answer", path_of(&asked)), &answer))["status"], "closed");

        // What is left is found by its name, and the day is exported without formulas.
        let found = ok(&ann.get(&format!("/v1/claims?q={}", filed[4]["reference"].as_str().unwrap())));
        assert_eq!(found["claims"][0]["id"], filed[4]["id"]);
        let export = ann.get("/v1/claims/export?status=declined");
        assert_eq!(export.text().lines().count(), 3, "{}", export.text());
        assert_eq!(next(&ann)["id"], filed[4]["id"]);
    });
}

//! A merchant's way: a draft begun on one device and sent from another, a proof, a question, a decline, an appeal, money,
//! and the end of it; then what is taken back, and what waits for a policy.

use serde_json::{Value, json};

use super::{days_go_by, delivered, issue, mailed, ok, on, operator, picture};
use crate::harness::{Client, Redress, Server, merchant_claim, wait_until};

/// The claimant's own view of a claim.
fn shown(me: &Client<'_>, path: &str) -> Value {
    ok(&me.get(path))
}

fn does(me: &Client<'_>, path: &str, what: &str, body: &Value) -> Value {
    ok(&me.post_once(&format!("{path}/{what}"), body))
}

/// Signs in by a code that is mailed to the address.
fn by_mailed_code<'a>(server: &'a Server, email: &str) -> Client<'a> {
    let json = [("content-type", "application/json")];
    let asked = json!({ "email": email, "language": "en" }).to_string();
    assert_eq!(server.post("/v1/claimants/codes", &json, asked).status, 202);
    let mail = mailed(server, email, "The code to see your reports is ");
    let code = &mail.split("your reports is ").nth(1).unwrap()[..6];
    let entered = server.post("/v1/claimants/sessions", &json, json!({ "email": email, "code": code }).to_string());
    assert_eq!(entered.status, 201, "{}", entered.text());
    Client { server, token: entered.json()["token"].as_str().unwrap().to_owned() }
}

fn upload(me: &Client<'_>, path: &str, document: &str) -> Value {
    let mut body = format!(
        "--cut\r\nContent-Disposition: form-data; name=\"document\"\r\n\r\n{document}\r\n--cut\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"sales.png\"\r\nContent-Type: image/png\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(&picture());
    body.extend_from_slice(b"\r\n--cut--\r\n");
    let headers = [("content-type", "multipart/form-data; boundary=cut"), ("idempotency-key", "proof")];
    let answer = me.send("POST", &format!("{path}/evidence"), &headers, body);
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

#[test]
fn a_claimant_from_the_first_word_to_the_last() {
    Redress::test(|redress| {
        let server = operator(redress);
        let ann = redress.client(&server, "ann", "agent");
        let bob = redress.client(&server, "bob", "agent");

        // What would I get, and what can I claim? Asked without a claim.
        let coverage = ok(&server.get("/v1/coverage?incident=kakao-2022-10-15&service=kakaotalk", &[]));
        assert_eq!(coverage["services"][0]["by_claim"][0]["states"], json!(["loss"]), "{coverage}");

        // A draft, begun on the telephone in the shop, with nothing in it but who it is.
        let mut new = merchant_claim("m-1", "0");
        new["draft"] = json!(true);
        new["facts"] = json!({});
        let begun = server.claim("begun", &new).json();
        assert_eq!(begun["status"], "draft");

        // Resumed at home: without the link, by a code that is mailed to the address.
        let me = by_mailed_code(&server, "m-1@example.com");
        let mine = ok(&me.get("/v1/claimants/claims"));
        let path = format!("/v1/claims/{}", mine["claims"][0]["id"].as_str().unwrap());
        assert_eq!(mine["claims"][0]["reference"], begun["reference"]);

        // Sent too early it says what is missing; changed on an old view it is refused.
        me.post_once(&format!("{path}/submit"), &json!({})).is_problem(422, "invalid_request");
        let draft = shown(&me, &path);
        let facts = json!({ "facts": { "loss": "900000" } });
        me.send(
            "PATCH",
            &path,
            &[("content-type", "application/json"), ("idempotency-key", "blind")],
            facts.to_string(),
        )
        .is_problem(428, "precondition_required");
        ok(&on(&draft, &me, "PATCH", &path, &facts));
        on(&draft, &me, "PATCH", &path, &json!({ "facts": { "loss": "1" } })).is_problem(412, "stale");

        // The proof is asked for now, once, while filing; and it is kept.
        assert_eq!(upload(&me, &path, "proof-of-loss")["document"], "proof-of-loss");
        let sent = does(&me, &path, "submit", &json!({}));
        assert_eq!((sent["status"].as_str(), sent["wanted"].is_null()), (Some("in_review"), true), "{sent}");
        mailed(&server, "m-1@example.com", begun["reference"].as_str().unwrap());

        // A question, with the day until when; an answer.
        ok(&ann.post_once("/v1/claims/next", &json!({})));
        let question = json!({ "text": "Which week was the best?", "days": 5 });
        ok(&ann.post_once(&format!("{path}/request-information"), &question));
        let asked = shown(&me, &path);
        assert_eq!(asked["status"], "needs_information");
        assert_eq!(asked["wanted"]["question"], question["text"]);
        assert!(asked["wanted"]["until"].is_string() && asked["desk"].is_null(), "{asked}");
        assert_eq!(does(&me, &path, "messages", &json!({ "text": "That of 1 October." }))["status"], "in_review");

        // Declined: why, in both languages, and until when it can be appealed.
        let decline = json!({ "outcome": "decline", "reasons": ["proof-insufficient"] });
        ok(&on(&ok(&ann.get(&path)), &ann, "POST", &format!("{path}/decision"), &decline));
        let declined = shown(&me, &path);
        let word = &declined["decision"];
        assert_eq!((declined["status"].as_str(), word["by"].as_str()), (Some("declined"), Some("person")));
        assert!(word["reasons"][0]["ko"].is_string() && word["reasons"][0]["en"].is_string(), "{word}");
        assert!(word["appeal"]["open"] == true && word["appeal"]["until"].is_string(), "{word}");

        // An appeal, read by somebody else, who grants a part of it.
        let why = json!({ "text": "The sheet has the sales of both weeks." });
        assert_eq!(does(&me, &path, "appeal", &why)["status"], "in_review");
        me.post_once(&format!("{path}/appeal"), &why).is_problem(409, "illegal_move");
        assert!(ok(&ann.post_once("/v1/claims/next", &json!({})))["claim"].is_null(), "not by whoever declined");
        assert_eq!(ok(&bob.post_once("/v1/claims/next", &json!({})))["claim"]["id"], begun["id"]);
        let part = json!({ "outcome": "part", "reasons": ["loss-partly-shown"],
                           "awards": [{ "asset": "KRW", "amount": "250000" }] });
        ok(&on(&ok(&bob.get(&path)), &bob, "POST", &format!("{path}/decision"), &part));
        assert_eq!(shown(&me, &path)["status"], "partly_approved");

        // Paid, once, and told so.
        assert_eq!(issue(redress, &server), 1);
        assert_eq!(issue(redress, &server), 0);
        let paid = shown(&me, &path);
        assert_eq!(paid["status"], "issued");
        assert_eq!(paid["decision"]["awards"], json!([{ "asset": "KRW", "amount": "250000" }]));
        let language = json!({ "language": "en", "notices": "all" });
        assert_eq!(
            me.send(
                "PUT",
                &format!("{path}/preferences"),
                &[("content-type", "application/json")],
                language.to_string()
            )
            .status,
            200
        );

        // Another's, who is owed nothing, is closed when nothing more can be appealed; mine is not, while I am owed.
        let other = server.claim("other", &merchant_claim("m-5", "0")).json();
        assert_eq!(other["status"], "declined");
        days_go_by(redress, 31);
        server.stop();
        let server = redress.serve();
        let others = format!("/v1/claims/{}", other["id"].as_str().unwrap());
        wait_until("the other is closed", || shown(&by_link(&server, &other), &others)["status"] == "closed");
        server.stop();
        let server = redress.serve();
        assert_eq!(shown(&by_link(&server, &begun), &path)["status"], "issued", "what is owed is not over");
        // Delivered, it is closed by itself, and still tells its whole story.
        delivered(redress, &server, "m-1");
        server.stop();
        let server = redress.serve();
        let me = by_link(&server, &begun);
        wait_until("it is closed", || shown(&me, &path)["status"] == "closed");
        let end = shown(&me, &path);
        let events: Vec<&str> =
            end["history"].as_array().unwrap().iter().map(|event| event["event"].as_str().unwrap()).collect();
        for event in [
            "draft",
            "redraft",
            "submit",
            "assess",
            "request-information",
            "message",
            "decide",
            "appeal",
            "credit",
            "close",
        ] {
            assert!(events.contains(&event), "{event}: {events:?}");
        }
        assert!(end["history"].as_array().unwrap().iter().all(|event| event["name"].is_null()), "no reader is named");
        me.post_once(&format!("{path}/withdraw"), &json!({})).is_problem(409, "illegal_move");
    });
}

/// With the link that the first answer gave.
fn by_link<'a>(server: &'a Server, begun: &Value) -> Client<'a> {
    let (_, token) = begun["link"].as_str().unwrap().split_once('#').unwrap();
    Client { server, token: token.to_owned() }
}

#[test]
fn a_claimant_takes_back_claims_again_and_waits_for_a_policy() {
    Redress::test(|redress| {
        let server = operator(redress);
        let filed = server.claim("first", &merchant_claim("m-2", "900000")).json();
        let me = by_link(&server, &filed);
        let path = format!("/v1/claims/{}", filed["reference"].as_str().unwrap());
        assert_eq!(shown(&me, &path)["id"], filed["id"], "the reference on paper finds it too");
        let by_id = format!("/v1/claims/{}", filed["id"].as_str().unwrap());
        assert_eq!(does(&me, &by_id, "withdraw", &json!({}))["status"], "withdrawn");
        me.post_once(&format!("{by_id}/messages"), &json!({ "text": "?" })).is_problem(409, "claim_conflict");
        let again = server.claim("second", &merchant_claim("m-2", "900000")).json();
        assert_eq!(again["status"], "in_review", "what was taken back can be claimed again");

        // A service whose remedy is not decided yet: accepted, and assessed on the day it is, without another word.
        let mut early = merchant_claim("m-3", "0");
        early["service"] = json!("map");
        let waits = server.claim("early", &early).json();
        assert_eq!(waits["status"], "pending_policy");
        let me = by_link(&server, &waits);
        let path = format!("/v1/claims/{}", waits["id"].as_str().unwrap());
        redress.with_policies(&["map"]);
        let decided = shown(&me, &path);
        assert_eq!(
            (decided["status"].as_str(), decided["decision"]["by"].as_str()),
            (Some("declined"), Some("policy"))
        );
        assert_eq!(decided["decision"]["appeal"]["open"], true, "{decided}");
        // Nothing is owed of it: after the time for an appeal it is closed, and an appeal has nothing to go against.
        days_go_by(redress, 31);
        drop(server);
        let server = redress.serve();
        let me = by_link(&server, &waits);
        wait_until("it is closed", || shown(&me, &path)["status"] == "closed");
        me.post_once(&format!("{path}/appeal"), &json!({ "text": "?" })).is_problem(409, "illegal_move");
        // What was withdrawn stays what it is.
        let withdrawn = by_link(&server, &filed);
        assert_eq!(shown(&withdrawn, &by_id)["status"], "withdrawn");
    });
}

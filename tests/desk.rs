//! A claimant and readers, over HTTP only: from a draft to the appeal, the amended decision and the difference.

mod comparing;
mod finding;
mod giving;
mod limits;
mod regrants;
mod walks;

use redress_domain::claim::{ClaimMove, ClaimState};
use serde_json::{Value, json};

use crate::harness::{Answer, Client, INCIDENT, Redress, Server, merchant_claim, merchants};

/// A claimant with a claim.
struct Claimant<'a> {
    client: Client<'a>,
    path: String,
}

impl<'a> Claimant<'a> {
    fn of(server: &'a Server, filed: &Value) -> Self {
        let text = |name: &str| filed[name].as_str().unwrap_or_else(|| panic!("{name}: {filed}")).to_owned();
        Self { client: Client { server, token: text("token") }, path: format!("/v1/claims/{}", text("id")) }
    }

    fn shown(&self) -> Value {
        let answer = self.client.get(&self.path);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    fn does(&self, what: &str, body: &Value) -> Answer {
        self.client.post_once(&format!("{}/{what}", self.path), body)
    }
}

/// Sends a command that is decided on a version.
fn on_version(client: &Client<'_>, path: &str, version: i64, body: &Value) -> Answer {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let key = format!("v-{}", COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    let tag = format!("\"{version}\"");
    let headers = [("content-type", "application/json"), ("idempotency-key", key.as_str()), ("if-match", tag.as_str())];
    let method = if path.ends_with("decision") { "POST" } else { "PATCH" };
    client.send(method, path, &headers, body.to_string())
}

/// Decides a claim as it stands.
fn decide(reader: &Client<'_>, path: &str, body: &Value) -> Answer {
    let version = reader.get(path).json()["version"].as_i64().unwrap();
    on_version(reader, &format!("{path}/decision"), version, body)
}

fn with_merchants(redress: &Redress) -> Server {
    redress.with_incident().with_staff().with_policies(&["kakaotalk-merchant-loss"]);
    let customers: Vec<String> = (1..=60).map(|number| format!("m-{number}")).collect();
    let roster = redress.file("roster.csv", merchants(&customers.iter().map(String::as_str).collect::<Vec<_>>()));
    redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
    redress.serve()
}

fn ok(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[test]
fn from_a_draft_to_the_difference_of_an_amended_decision() {
    Redress::test(|redress| {
        let server = with_merchants(redress);
        redress.with_budget("kakaotalk", "KRW", "10000000");
        let ann = redress.client(&server, "ann", "agent");
        let bob = redress.client(&server, "bob", "agent");
        // A draft may lack what the policy needs.
        let mut new = merchant_claim("m-1", "0");
        new["draft"] = json!(true);
        new["facts"] = json!({});
        let begun = server.claim("draft", &new).json();
        assert_eq!((begun["status"].as_str(), begun["submitted_at"].is_null()), (Some("draft"), true), "{begun}");
        let claimant = Claimant::of(&server, &begun);
        claimant.does("submit", &json!({})).is_problem(422, "invalid_request");
        assert_eq!(claimant.shown()["status"], "draft", "nothing was recorded");
        let change = json!({ "facts": { "loss": "900000" } });
        on_version(&claimant.client, &claimant.path, 7, &change).is_problem(412, "stale");
        let changed = ok(&on_version(&claimant.client, &claimant.path, 1, &change));
        assert_eq!((changed["version"].as_i64(), changed["facts"]["loss"].as_str()), (Some(2), Some("900000")));
        let sent = ok(&claimant.does("submit", &json!({})));
        assert_eq!(sent["status"], "in_review", "{sent}");
        assert_eq!(sent["wanted"]["documents"], json!(["proof-of-loss"]));
        // The reader gets it, asks, is answered.
        let given = ok(&ann.post_once("/v1/claims/next", &json!({})));
        assert_eq!(given["claim"]["id"], begun["id"], "{given}");
        assert_eq!(given["claim"]["desk"]["reader"], "ann");
        assert_eq!(given["claim"]["desk"]["queue"], "council");
        assert!(ok(&bob.post_once("/v1/claims/next", &json!({})))["claim"].is_null(), "it is ann's");
        let question = json!({ "text": "Which week was the best?", "days": 5 });
        ann.post_once(&format!("{}/request-information", claimant.path), &json!({ "text": "?", "days": 1 }))
            .is_problem(422, "invalid_request");
        ok(&ann.post_once(&format!("{}/request-information", claimant.path), &question));
        let asked = claimant.shown();
        assert_eq!(
            (asked["status"].as_str(), asked["wanted"]["question"].as_str()),
            (Some("needs_information"), Some("Which week was the best?"))
        );
        assert!(asked["wanted"]["until"].is_string() && asked["desk"].is_null());
        let stale = ann.get(&claimant.path).json()["version"].as_i64().unwrap();
        ok(&claimant.does("messages", &json!({ "text": "The first of October." })));
        assert_eq!(claimant.shown()["status"], "in_review");
        // What was decided on what was seen before is refused; and what says no reason is.
        let decision = format!("{}/decision", claimant.path);
        let decline = json!({ "outcome": "decline", "reasons": ["proof-insufficient"] });
        ann.post_once(&decision, &decline).is_problem(428, "precondition_required");
        on_version(&ann, &decision, stale, &decline).is_problem(412, "stale");
        decide(&ann, &claimant.path, &json!({ "outcome": "decline" })).is_problem(422, "invalid_request");
        decide(&ann, &claimant.path, &json!({ "outcome": "decline", "reasons": ["bad-mood"] }))
            .is_problem(422, "invalid_request");
        ok(&decide(&ann, &claimant.path, &decline));
        let declined = claimant.shown();
        assert_eq!(declined["status"], "declined");
        let told = &declined["decision"];
        assert_eq!(
            (told["by"].as_str(), told["reasons"][0]["code"].as_str()),
            (Some("person"), Some("proof-insufficient"))
        );
        assert!(told["reasons"][0]["ko"].is_string() && told["reasons"][0]["en"].is_string(), "{told}");
        assert_eq!(told["appeal"]["open"], true, "{told}");
        // The appeal is read by somebody else, and granted in part.
        let appealed =
            ok(&claimant.does("appeal", &json!({ "text": "You have not read the sales of the first week." })));
        assert_eq!(
            (appealed["status"].as_str(), appealed["decision"]["appeal"]["open"].as_bool()),
            (Some("in_review"), Some(false))
        );
        claimant.does("appeal", &json!({ "text": "Once more." })).is_problem(409, "illegal_move");
        assert!(
            ok(&ann.post_once("/v1/claims/next", &json!({})))["claim"].is_null(),
            "who decided does not read the appeal"
        );
        decide(&ann, &claimant.path, &decline).is_problem(403, "four_eyes");
        assert_eq!(ok(&bob.post_once("/v1/claims/next", &json!({})))["claim"]["id"], begun["id"]);
        let part = json!({ "outcome": "part", "awards": [{ "asset": "KRW", "amount": "100000" }], "reasons": ["loss-partly-shown"] });
        ok(&decide(&bob, &claimant.path, &part));
        assert_eq!(redress.issue()["issued"], 1);
        let paid = claimant.shown();
        assert_eq!(
            (paid["status"].as_str(), paid["decision"]["awards"][0]["amount"].as_str()),
            (Some("issued"), Some("100000"))
        );
        // The part is appealed too; the amended decision pays the difference, once.
        ok(&claimant.does("appeal", &json!({ "text": "All of it was lost." })));
        assert_eq!(redress.issue()["issued"], 0, "what is read again is not paid");
        claimant.does("withdraw", &json!({})).is_problem(409, "claim_conflict");
        let whole = json!({ "outcome": "approve", "awards": [{ "asset": "KRW", "amount": "250000" }] });
        decide(&bob, &claimant.path, &whole).is_problem(403, "four_eyes");
        ok(&decide(&ann, &claimant.path, &whole));
        assert_eq!(redress.issue()["issued"], 1);
        assert_eq!(redress.issue()["issued"], 0);
        let credits = redress.text("SELECT string_agg(amount::text, ',' ORDER BY amount) FROM transfer WHERE code = 2");
        assert_eq!(credits, "100000,150000");
        let end = claimant.shown();
        assert_eq!(end["status"], "issued");
        let events: Vec<&str> =
            end["history"].as_array().unwrap().iter().map(|h| h["event"].as_str().unwrap()).collect();
        assert!(
            ["draft", "submit", "assess", "request-information", "message", "decide", "appeal", "credit"]
                .iter()
                .all(|event| events.contains(event)),
            "{events:?}"
        );
        assert!(
            end["history"].as_array().unwrap().iter().all(|happened| happened["name"].is_null()),
            "a claimant sees no reader's name"
        );
        claimant.does("appeal", &json!({ "text": "More." })).is_problem(409, "appeal_refused");
        let messages = claimant.client.get(&format!("{}/messages", claimant.path)).json();
        let kinds: Vec<&str> = messages.as_array().unwrap().iter().map(|m| m["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["question", "message", "appeal", "appeal"]);
        redress.run(&["notify"]).succeeds();
        assert_eq!(redress.number("SELECT count(*) FROM notice WHERE event = 'appeal_decided'"), 2);
        assert_eq!(redress.number("SELECT count(*) FROM notice WHERE state = 'dead'"), 0);
    });
}

/// A claim brought into a state by what people may do.
fn brought_into<'a>(
    redress: &Redress,
    server: &'a Server,
    reader: &Client<'_>,
    state: ClaimState,
    customer: &str,
) -> Claimant<'a> {
    let loss = match state {
        ClaimState::Approved | ClaimState::Issued => "1000",
        ClaimState::Declined => "0",
        _ => "900000",
    };
    let mut new = merchant_claim(customer, loss);
    match state {
        ClaimState::Draft => new["draft"] = json!(true),
        ClaimState::PendingPolicy => new["service"] = json!("map"),
        ClaimState::Closed => new["kind"] = json!("enquiry"),
        _ => {}
    }
    let answer = server.claim(&format!("{state}"), &new);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let claimant = Claimant::of(server, &answer.json());
    match state {
        ClaimState::NeedsInformation => {
            ok(&reader.post_once(&format!("{}/request-information", claimant.path), &json!({ "text": "?" })));
        }
        ClaimState::PartlyApproved => {
            let part = json!({ "outcome": "part", "awards": [{ "asset": "KRW", "amount": "1" }], "reasons": ["loss-partly-shown"] });
            ok(&decide(reader, &claimant.path, &part));
        }
        ClaimState::Issued => {
            redress.with_budget("kakaotalk", "KRW", "100000");
            assert!(redress.issue()["issued"].as_i64() >= Some(1));
        }
        ClaimState::Withdrawn => {
            ok(&claimant.does("withdraw", &json!({})));
        }
        _ => {}
    }
    assert_eq!(claimant.shown()["status"], state.as_str());
    claimant
}

#[test]
fn what_a_state_does_not_allow_is_refused_over_http_and_changes_nothing() {
    Redress::test(|redress| {
        let server = with_merchants(redress);
        let reader = redress.client(&server, "ann", "agent");
        let award = json!([{ "asset": "KRW", "amount": "1" }]);
        let commands = [
            (ClaimMove::Submit, "submit", json!({})),
            (ClaimMove::Withdraw, "withdraw", json!({})),
            (ClaimMove::Appeal, "appeal", json!({ "text": "?" })),
            (ClaimMove::RequestInformation, "request-information", json!({ "text": "?" })),
            (ClaimMove::Approve, "decision", json!({ "outcome": "approve", "awards": award })),
            (
                ClaimMove::ApprovePartly,
                "decision",
                json!({ "outcome": "part", "awards": award, "reasons": ["loss-partly-shown"] }),
            ),
            (ClaimMove::Decline, "decision", json!({ "outcome": "decline", "reasons": ["not-covered"] })),
            (ClaimMove::Reopen, "reopen", json!({ "reason": "mistake" })),
        ];
        let states = ClaimState::ALL.into_iter().filter(|state| *state != ClaimState::Submitted);
        let mut refused = 0;
        for (number, state) in states.enumerate() {
            let claimant = brought_into(redress, &server, &reader, state, &format!("m-{}", number % 9 + 1));
            for (action, path, body) in &commands {
                if state.after(*action).is_ok() {
                    continue;
                }
                let before = claimant.shown();
                let answer = match (*action, *path) {
                    (_, "decision") => decide(&reader, &claimant.path, body),
                    (ClaimMove::RequestInformation | ClaimMove::Reopen, path) => {
                        reader.post_once(&format!("{}/{path}", claimant.path), body)
                    }
                    (_, path) => claimant.does(path, body),
                };
                answer.is_problem(409, "illegal_move");
                assert_eq!(claimant.shown(), before, "{state} {action}");
                refused += 1;
            }
        }
        assert!(refused > 40, "{refused}");
    });
}

#[test]
fn beyond_his_limit_a_reader_needs_a_second_person() {
    Redress::test(|redress| {
        let server = with_merchants(redress);
        redress.with_budget("kakaotalk", "KRW", "10000000");
        let ann = redress.client(&server, "ann", "agent");
        let lea = redress.client(&server, "lea", "lead");
        let leo = redress.client(&server, "leo", "lead");
        let filed = server.claim("big", &merchant_claim("m-1", "9000000")).json();
        let claimant = Claimant::of(&server, &filed);
        let large = json!({ "outcome": "approve", "awards": [{ "asset": "KRW", "amount": "3000001" }] });
        let sign = format!("{}/approve-decision", claimant.path);
        let signs = |client: &Client<'_>, approve: bool| {
            let version = client.get(&claimant.path).json()["version"].as_i64().unwrap();
            on_version(client, &sign, version, &json!({ "approve": approve }))
        };
        signs(&lea, true).is_problem(409, "claim_conflict");
        let waits = ok(&decide(&lea, &claimant.path, &large));
        assert_eq!(
            (waits["status"].as_str(), waits["desk"]["proposed"]["decided_by"].as_str()),
            (Some("in_review"), Some("lea"))
        );
        assert!(claimant.shown()["decision"].is_null(), "nothing holds yet");
        assert_eq!(redress.issue()["issued"], 0);
        decide(&leo, &claimant.path, &large).is_problem(409, "claim_conflict");
        signs(&lea, true).is_problem(403, "four_eyes");
        signs(&ann, true).is_problem(403, "forbidden");
        let refused = redress.sql_as_app("UPDATE decision SET approved_by = 'lea', approved_at = now()").unwrap_err();
        assert!(refused.contains("decision_four_eyes"), "{refused}");
        // Not signed, it goes back; decided again and signed, it is paid.
        assert!(ok(&ann.post_once("/v1/claims/next", &json!({})))["claim"].is_null(), "signatures are for leads");
        assert_eq!(ok(&leo.post_once("/v1/claims/next", &json!({})))["claim"]["id"], filed["id"]);
        assert_eq!(ok(&signs(&leo, false))["desk"]["queue"], "again");
        ok(&decide(&lea, &claimant.path, &large));
        assert_eq!(ok(&signs(&leo, true))["status"], "approved");
        assert_eq!(redress.issue()["issued"], 1);
        // An agent's own limit is lower.
        let second = Claimant::of(&server, &server.claim("mid", &merchant_claim("m-2", "900000")).json());
        let mid = json!({ "outcome": "approve", "awards": [{ "asset": "KRW", "amount": "300001" }] });
        assert_eq!(ok(&decide(&ann, &second.path, &mid))["status"], "in_review");
    });
}

#[test]
fn who_else_has_a_claim_open_is_shown_to_the_staff_alone() {
    Redress::test(|redress| {
        let server = with_merchants(redress);
        let filed = server.claim("k", &merchant_claim("m-1", "900000")).json();
        let claimant = Claimant::of(&server, &filed);
        let (ann, ben) = (redress.client(&server, "ann", "agent"), redress.client(&server, "ben", "lead"));
        let present = |reader: &Client<'_>| -> Vec<String> {
            let claim = reader.get(&claimant.path).json();
            let present = claim["desk"]["present"].as_array().unwrap();
            present.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
        };
        assert!(present(&ann).is_empty(), "nobody is told of himself");
        assert_eq!(present(&ben), ["ann"]);
        assert_eq!(present(&ann), ["ben"]);
        let shown =
            server.get(&claimant.path, &[("authorization", &format!("Bearer {}", filed["token"].as_str().unwrap()))]);
        assert!(shown.json()["desk"].is_null(), "{}", shown.text());
        // Who has not asked for a minute is taken to be gone.
        redress.sql("UPDATE looking SET seen_at = seen_at - interval '61 seconds'");
        assert!(present(&ann).is_empty());
    });
}

#[test]
fn readers_race_and_no_two_get_the_same_claim() {
    Redress::test(|redress| {
        let server = with_merchants(redress);
        for number in 1..=8 {
            let answer = server.claim(&format!("k-{number}"), &merchant_claim(&format!("m-{number}"), "900000"));
            assert_eq!(answer.json()["status"], "in_review");
        }
        let readers: Vec<Client<'_>> = (0..4).map(|n| redress.client(&server, &format!("r-{n}"), "agent")).collect();
        let mut given: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = readers
                .iter()
                .map(|reader| {
                    scope.spawn(|| {
                        std::iter::from_fn(|| {
                            let given = ok(&reader.post_once("/v1/claims/next", &json!({})));
                            given["claim"]["id"].as_str().map(str::to_owned)
                        })
                        .collect::<Vec<_>>()
                    })
                })
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        given.sort();
        assert_eq!(given.len(), 8);
        given.dedup();
        assert_eq!(given.len(), 8, "two readers got the same claim");
        let path = format!("/v1/claims/{}", given[0]);
        let holder = readers[0].get(&path).json()["desk"]["reader"].as_str().unwrap().to_owned();
        let other = readers.iter().zip(0..).find(|(_, n)| format!("r-{n}") != holder).unwrap().0;
        let decline = json!({ "outcome": "decline", "reasons": ["not-covered"] });
        decide(other, &path, &decline).is_problem(409, "claim_held");
        other.post_once(&format!("{path}/lease"), &json!({})).is_problem(409, "claim_held");
        // A lease that is over is another's to take; one that was given back too.
        redress.sql("UPDATE task SET leased_until = now() - interval '1 second'");
        ok(&other.post_once(&format!("{path}/lease"), &json!({})));
        ok(&other.post_once(&format!("{path}/release"), &json!({})));
        // Two decide on the same version: one of them wins.
        let version = other.get(&path).json()["version"].as_i64().unwrap();
        let decision = format!("{path}/decision");
        let mut answers: Vec<u16> = std::thread::scope(|scope| {
            let threads: Vec<_> = readers[..2]
                .iter()
                .map(|r| scope.spawn(|| on_version(r, &decision, version, &decline).status))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        answers.sort_unstable();
        assert_eq!(answers, [200, 412]);
        // Given to somebody, it is his first and nobody else's.
        let mine = format!("/v1/claims/{}", given[5]);
        redress.sql("UPDATE task SET leased_by = NULL, leased_until = NULL");
        ok(&readers[0].post_once(&format!("{mine}/assign"), &json!({ "to": "r-3" })));
        readers[0].post_once(&format!("{mine}/assign"), &json!({ "to": "nobody" })).is_problem(422, "invalid_request");
        assert_eq!(ok(&readers[3].post_once("/v1/claims/next", &json!({})))["claim"]["id"], given[5].as_str());
    });
}

#[test]
fn who_is_asked_is_reminded_and_never_declined_for_silence() {
    Redress::test(|redress| {
        let server = with_merchants(redress);
        let ann = redress.client(&server, "ann", "agent");
        let claimant = Claimant::of(&server, &server.claim("k", &merchant_claim("m-1", "900000")).json());
        ok(&ann.post_once(&format!("{}/request-information", claimant.path), &json!({ "text": "?", "days": 14 })));
        let reminders = || redress.number("SELECT count(*) FROM notice WHERE event = 'reminder'");
        let shift =
            |days: u32| redress.sql(&format!("UPDATE task SET due_at = due_at - interval '{days} days' WHERE is_open"));
        assert_eq!(reminders(), 0);
        shift(8);
        crate::harness::wait_until("the first reminder", || reminders() == 1);
        shift(5);
        crate::harness::wait_until("the second", || reminders() == 2);
        assert_eq!(claimant.shown()["status"], "needs_information");
        shift(2);
        crate::harness::wait_until("it is back", || claimant.shown()["status"] == "in_review");
        assert_eq!(reminders(), 2);
        assert_eq!(
            ok(&ann.post_once("/v1/claims/next", &json!({})))["claim"]["id"]
                .as_str()
                .map(|id| claimant.path.ends_with(id)),
            Some(true)
        );
    });
}

#[test]
fn an_appeal_is_taken_once_and_in_time() {
    Redress::test(|redress| {
        let server = with_merchants(redress);
        let claimant = Claimant::of(&server, &server.claim("k", &merchant_claim("m-1", "0")).json());
        let words = json!({ "text": "I did lose something." });
        assert_eq!(claimant.shown()["decision"]["appeal"]["open"], true);
        redress.sql("UPDATE assessment SET assessed_at = assessed_at - interval '31 days'");
        assert_eq!(claimant.shown()["decision"]["appeal"]["open"], false);
        claimant.does("appeal", &words).is_problem(409, "appeal_refused");
        redress.sql("UPDATE assessment SET assessed_at = assessed_at + interval '31 days'");
        let key = [("content-type", "application/json"), ("idempotency-key", "same")];
        let path = format!("{}/appeal", claimant.path);
        let first = claimant.client.send("POST", &path, &key, words.to_string());
        let again = claimant.client.send("POST", &path, &key, words.to_string());
        assert_eq!((first.status, &first.body), (again.status, &again.body));
        assert_eq!([first.header("idempotency-replayed"), again.header("idempotency-replayed")], ["false", "true"]);
        assert_eq!(first.header("etag"), again.header("etag"));
        claimant
            .client
            .send("POST", &path, &key, json!({ "text": "other" }).to_string())
            .is_problem(422, "idempotency_key_reused");
        assert_eq!(redress.number("SELECT count(*) FROM appeal"), 1);
    });
}

#[test]
fn the_same_loss_is_one_claim_and_an_enquiry_is_none() {
    Redress::test(|redress| {
        let server = with_merchants(redress);
        let ann = redress.client(&server, "ann", "agent");
        let first = server.claim("first", &merchant_claim("m-1", "900000")).json();
        let mut again = merchant_claim("m-1", "900000");
        again["facts"]["loss"] = json!(900000);
        again["description"] = json!("I forgot to say that the shop was open.");
        let answer = server.claim("second", &again);
        let second = answer.json();
        assert_eq!((answer.status, second["status"].as_str()), (201, Some("closed")), "{second}");
        assert_eq!(second["duplicate_of"], json!({ "reference": first["reference"], "status": "in_review" }));
        assert_ne!(second["token"], first["token"], "whoever knows a customer's loss gets no other's token");
        // Nothing is lost: its words stand where the claim is handled.
        let of_first = Claimant::of(&server, &first);
        let messages = ann.get(&format!("{}/messages", of_first.path)).json();
        assert_eq!(
            (messages[0]["kind"].as_str(), messages[0]["text"].as_str()),
            (Some("merged"), again["description"].as_str())
        );
        // Withdrawn, it can be claimed again.
        ok(&of_first.does("withdraw", &json!({})));
        assert_eq!(server.claim("third", &merchant_claim("m-1", "900000")).json()["status"], "in_review");
        let mut enquiry = merchant_claim("m-2", "1");
        enquiry["kind"] = json!("enquiry");
        enquiry["facts"] = json!({});
        let asked = server.claim("enquiry", &enquiry).json();
        assert_eq!(asked["status"], "closed", "{asked}");
        assert!(asked["reply"]["ko"].is_string(), "{asked}");
        let asker = Claimant::of(&server, &asked);
        assert_eq!(ok(&ann.post_once("/v1/claims/next", &json!({})))["claim"]["customer"], "m-1");
        assert!(ok(&ann.post_once("/v1/claims/next", &json!({})))["claim"].is_null(), "an enquiry clogs nothing");
        ok(&asker.does("messages", &json!({ "text": "That does not answer me." })));
        assert!(ok(&ann.post_once("/v1/claims/next", &json!({})))["claim"].is_null(), "nor when it is asked again");
        let given = ok(&ann.post_once("/v1/claims/next", &json!({ "queue": "enquiry" })));
        assert_eq!(given["claim"]["customer"], "m-2", "{given}");
        decide(&ann, &asker.path, &json!({ "outcome": "decline", "reasons": ["not-covered"] }))
            .is_problem(409, "claim_conflict");
        assert_eq!(
            ok(&ann.post_once(&format!("{}/answer", asker.path), &json!({ "text": "It does." })))["status"],
            "closed"
        );
    });
}

#[test]
fn a_word_about_a_claim_that_is_decided_comes_to_somebody_and_is_answered() {
    Redress::test(|redress| {
        let server = with_merchants(redress);
        let (ann, bob) = (redress.client(&server, "ann", "agent"), redress.client(&server, "bob", "agent"));
        let paid = Claimant::of(&server, &server.claim("paid", &merchant_claim("m-1", "1000")).json());
        let declined = Claimant::of(&server, &server.claim("declined", &merchant_claim("m-2", "0")).json());
        let mut early = merchant_claim("m-3", "1");
        early["service"] = json!("map");
        let waits = Claimant::of(&server, &server.claim("waits", &early).json());
        assert!(ok(&ann.post_once("/v1/claims/next", &json!({})))["claim"].is_null(), "nothing is to be read");
        for (claimant, state) in [(&paid, "approved"), (&declined, "declined"), (&waits, "pending_policy")] {
            let written = ok(&claimant.does("messages", &json!({ "text": "My address has changed." })));
            assert_eq!((written["status"].as_str(), written["desk"].is_null()), (Some(state), true), "{written}");
            let given = ok(&ann.post_once("/v1/claims/next", &json!({})))["claim"].clone();
            assert_eq!((given["desk"]["queue"].as_str(), given["status"].as_str()), (Some("letter"), Some(state)));
            assert!(claimant.path.ends_with(given["id"].as_str().unwrap()));
            // It is hers to answer, and it changes nothing of the claim.
            let answer = json!({ "text": "Thank you, we noted it." });
            bob.post_once(&format!("{}/messages", claimant.path), &answer).is_problem(409, "claim_held");
            let answered = ok(&ann.post_once(&format!("{}/messages", claimant.path), &answer));
            assert_eq!((answered["status"].as_str(), answered["desk"]["queue"].is_null()), (Some(state), true));
            assert!(ok(&bob.post_once("/v1/claims/next", &json!({})))["claim"].is_null());
        }
        // What a letter is about may come to the desk for another reason meanwhile.
        ok(&declined.does("messages", &json!({ "text": "And one more thing." })));
        ok(&declined.does("appeal", &json!({ "text": "I did lose something." })));
        assert_eq!(ok(&ann.post_once("/v1/claims/next", &json!({})))["claim"]["desk"]["queue"], "appeal");
        redress.with_policies(&["map"]);
        assert_eq!(waits.shown()["status"], "in_review");
        assert_eq!(ok(&bob.post_once("/v1/claims/next", &json!({})))["claim"]["desk"]["queue"], "map");
    });
}

//! Random walks of a claim over HTTP, beside a small model of what the domain says: where each command leads, what is
//! refused and with which code, and what has been credited in the end.

use redress_domain::claim::{ClaimMove, ClaimState};
use serde_json::json;

use super::{Claimant, decide, with_merchants};
use crate::harness::{Client, Random, Redress, merchant_claim};

const STEPS: usize = 120;
const READERS: [&str; 2] = ["ann", "bob"];

/// What is known of the claim. One of a customer only: what one claim gets would count for another.
struct Model {
    state: ClaimState,
    /// The last word: its number, whether it refuses anything, and by whom it is.
    ruling: Option<(i32, bool, Option<usize>)>,
    decisions: i32,
    appealed: Vec<i32>,
    /// Who must not read the appeal that is open.
    open_appeal: Option<Option<usize>>,
    award: u64,
    credited: u64,
}

/// What a command is answered with.
#[derive(Debug, PartialEq)]
enum Answered {
    Done,
    Refused(u16, &'static str),
}

const ILLEGAL: Answered = Answered::Refused(409, "illegal_move");

impl Model {
    fn go(&mut self, action: ClaimMove) -> Answered {
        match self.state.after(action) {
            Ok(state) => {
                self.state = state;
                Answered::Done
            }
            Err(_) => ILLEGAL,
        }
    }

    fn withdraw(&mut self) -> Answered {
        if self.state.after(ClaimMove::Withdraw).is_ok() && self.credited > 0 {
            return Answered::Refused(409, "claim_conflict");
        }
        self.go(ClaimMove::Withdraw)
    }

    fn appeal(&mut self) -> Answered {
        if self.state.after(ClaimMove::Appeal).is_err() {
            return ILLEGAL;
        }
        match self.ruling {
            Some((number, true, by)) if !self.appealed.contains(&number) => {
                self.appealed.push(number);
                self.open_appeal = Some(by);
                self.go(ClaimMove::Appeal)
            }
            _ => Answered::Refused(409, "appeal_refused"),
        }
    }

    fn write(&mut self) -> Answered {
        match self.state {
            ClaimState::NeedsInformation => self.go(ClaimMove::Review),
            ClaimState::Withdrawn => Answered::Refused(409, "claim_conflict"),
            _ => Answered::Done,
        }
    }

    fn decide(&mut self, reader: usize, action: ClaimMove, award: u64) -> Answered {
        if self.state.after(action).is_err() {
            return ILLEGAL;
        }
        if self.open_appeal == Some(Some(reader)) {
            return Answered::Refused(403, "four_eyes");
        }
        self.decisions += 1;
        self.ruling = Some((self.decisions, action != ClaimMove::Approve, Some(reader)));
        self.open_appeal = None;
        self.award = award;
        self.go(action)
    }

    fn issue(&mut self) {
        if self.go(ClaimMove::Issue) == Answered::Done {
            self.credited = self.credited.max(self.award);
        }
    }
}

#[test]
fn random_walks_go_where_the_domain_says() {
    Redress::test(|redress| {
        let server = with_merchants(redress);
        redress.with_budget("kakaotalk", "KRW", "10000000");
        let readers: Vec<Client<'_>> = READERS.iter().map(|name| redress.client(&server, name, "agent")).collect();
        let mut random = Random::new("random_walks_go_where_the_domain_says");
        let mut walks = 0;
        let mut under_way: Option<(Claimant<'_>, Model)> = None;
        for step in 0..STEPS {
            let over = under_way.as_ref().is_none_or(|(_, model)| model.state == ClaimState::Withdrawn);
            if over || random.below(25) == 0 {
                walks += 1;
                let declined = random.below(3) == 0;
                let loss = if declined { "0".to_owned() } else { format!("9{walks:05}") };
                let customer = format!("m-{walks}");
                let mut claim = merchant_claim(&customer, &loss);
                // A loss of nothing is the same loss again: what else is said makes it another.
                claim["facts"]["walk"] = json!(walks.to_string());
                claim["contact"] = json!({});
                let filed = server.claim(&format!("walk-{walks}"), &claim);
                assert_eq!(filed.status, 201, "{}", filed.text());
                let state = if declined { ClaimState::Declined } else { ClaimState::InReview };
                let ruling = declined.then_some((0, true, None));
                let model = Model {
                    state,
                    ruling,
                    decisions: 0,
                    appealed: Vec::new(),
                    open_appeal: None,
                    award: 0,
                    credited: 0,
                };
                under_way = Some((Claimant::of(&server, &filed.json()), model));
            }
            let (claimant, model) = under_way.as_mut().unwrap();
            let before = model.state;
            let reader = usize::try_from(random.below(2)).unwrap();
            let award = 1000 * (1 + random.below(20));
            let awards = json!([{ "asset": "KRW", "amount": award.to_string() }]);
            let command = random.below(9);
            let (expected, answer) = match command {
                0 => (model.withdraw(), claimant.does("withdraw", &json!({}))),
                1 | 2 => (model.appeal(), claimant.does("appeal", &json!({ "text": "?" }))),
                3 => (model.write(), claimant.does("messages", &json!({ "text": "!" }))),
                4 => {
                    let path = format!("{}/request-information", claimant.path);
                    (model.go(ClaimMove::RequestInformation), readers[reader].post_once(&path, &json!({ "text": "?" })))
                }
                5 => {
                    let body = json!({ "outcome": "approve", "awards": awards });
                    (model.decide(reader, ClaimMove::Approve, award), decide(&readers[reader], &claimant.path, &body))
                }
                6 => {
                    let body = json!({ "outcome": "part", "awards": awards, "reasons": ["loss-partly-shown"] });
                    (
                        model.decide(reader, ClaimMove::ApprovePartly, award),
                        decide(&readers[reader], &claimant.path, &body),
                    )
                }
                7 => {
                    let body = json!({ "outcome": "decline", "reasons": ["not-covered"] });
                    (model.decide(reader, ClaimMove::Decline, 0), decide(&readers[reader], &claimant.path, &body))
                }
                _ => {
                    if matches!(model.state, ClaimState::Approved | ClaimState::PartlyApproved) {
                        redress.issue();
                        model.issue();
                    }
                    let path = format!("{}/reopen", claimant.path);
                    let expected =
                        if model.state == ClaimState::Closed { Answered::Done } else { model.go(ClaimMove::Reopen) };
                    (expected, readers[reader].post_once(&path, &json!({ "reason": "looked-again" })))
                }
            };
            let code = if answer.status == 200 { None } else { answer.json()["code"].as_str().map(str::to_owned) };
            let got = (answer.status, code.as_deref());
            let wanted = match expected {
                Answered::Done => (200, None),
                Answered::Refused(status, code) => (status, Some(code)),
            };
            assert_eq!(got, wanted, "step {step}: command {command} of {before} by reader {reader}: {}", answer.text());
            assert_eq!(claimant.shown()["status"], model.state.as_str(), "step {step}: command {command} of {before}");
            let id = claimant.path.rsplit('/').next().unwrap();
            let credited =
                redress.number(&format!("SELECT coalesce(sum(amount), 0) FROM transfer WHERE subject = 'claim/{id}'"));
            assert_eq!(u64::try_from(credited).unwrap(), model.credited, "step {step}: command {command} of {before}");
        }
        assert!((3..=60).contains(&walks), "{walks}");
    });
}

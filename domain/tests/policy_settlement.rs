//! What was given before, settled again and again while records, decisions and policies change: it is never forgotten,
//! whatever is said of its subject now.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use proptest::prelude::*;
use redress_domain::policy::{Entry, Facts, Given, Input, Policy, Programme, Subject, Used, settle};
use redress_domain::{Amount, AssetCode};

/// What is said of a subject in a round.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Says {
    Award(i64),
    Decline,
    Review,
    /// A fact that the policy needs is missing.
    Fails,
    /// No policy in force says anything: it was retired, the claim was declined, the holding is gone.
    Gone,
}
use Says::{Award, Decline, Fails, Gone, Review};

/// A policy that does as its facts say.
fn policy(name: &str, more: &str) -> Policy {
    let source = format!(
        "policy = \"{name}\"\nbasis = \"automatic\"\ntitle = {{ ko = \"가\", en = \"x\" }}\n\
         [facts]\n\"holding.says\" = {{ type = \"text\" }}\n\"holding.fee\" = {{ type = \"int\", min = 0 }}\n{more}\n\
         [[rule]]\nname = \"no\"\nwhen = \"holding.says == 'decline'\"\ndecline = \"not-eligible\"\n\
         [[rule]]\nname = \"look\"\nwhen = \"holding.says == 'review'\"\nreview = \"desk\"\n\
         [[rule]]\nname = \"yes\"\notherwise = true\naward = [{{ asset = \"KRW\", amount = \"holding.fee\" }}]\n"
    );
    Policy::compile(&source, "p.toml").unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn facts(says: Says) -> Facts {
    let text = match says {
        Award(amount) => format!("{{\"holding.says\": \"award\", \"holding.fee\": {amount}}}"),
        Decline => "{\"holding.says\": \"decline\", \"holding.fee\": 1}".to_owned(),
        Review => "{\"holding.says\": \"review\", \"holding.fee\": 1}".to_owned(),
        Fails | Gone => "{}".to_owned(),
    };
    Facts::from_json(&text).unwrap()
}

/// One customer's subjects, round after round.
struct Customer<'p> {
    subjects: Vec<(&'p Policy, &'static str)>,
    given: Vec<i64>,
    reversed: Vec<i64>,
    programme: Programme,
}

impl<'p> Customer<'p> {
    fn new(subjects: &[(&'p Policy, &'static str)]) -> Self {
        let none = vec![0; subjects.len()];
        Self { subjects: subjects.to_vec(), given: none.clone(), reversed: none, programme: Programme::default() }
    }

    /// Settles a round and credits what is due; a subject without a word is not there yet.
    fn round(&mut self, says: &[Option<Says>]) -> Vec<i64> {
        let krw = |amount: i64| match amount {
            0 => Vec::new(),
            amount => vec![Given { asset: AssetCode::parse("KRW").unwrap(), amount: Amount::from_minor(amount) }],
        };
        let facts: Vec<Facts> = says.iter().map(|says| facts(says.unwrap_or(Gone))).collect();
        let given: Vec<_> = self.given.iter().map(|given| krw(*given)).collect();
        let reversed: Vec<_> = self.reversed.iter().map(|reversed| krw(*reversed)).collect();
        let there: Vec<usize> = (0..says.len()).filter(|at| says[*at].is_some()).collect();
        let entries: Vec<Entry<'_>> = there
            .iter()
            .map(|at| {
                let (policy, reference) = self.subjects[*at];
                let input = match says[*at] {
                    Some(Gone) => Input::Decided { awards: &[], subject: Subject::default() },
                    _ => Input::Facts(&facts[*at]),
                };
                Entry { policy, reference, input, given: &given[*at], reversed: &reversed[*at] }
            })
            .collect();
        let mut credited = vec![0; says.len()];
        for (at, settled) in there.iter().zip(settle(&entries, &mut self.programme)) {
            credited[*at] = settled.due.iter().map(|due| due.to_credit.minor()).sum();
            self.given[*at] += credited[*at];
        }
        credited
    }

    fn kept(&self) -> i64 {
        self.given.iter().sum::<i64>() - self.reversed.iter().sum::<i64>()
    }
}

const AT_MOST: &str = "[[cap]]\nper = \"customer\"\nasset = \"KRW\"\nat_most = 1_000\n";
const AT_LEAST: &str = "[[cap]]\nper = \"customer\"\nasset = \"KRW\"\nat_least = 150\n";
const GROUP: &str = "[stacking]\ngroup = \"g\"\nrule = \"highest-of\"\n";

#[test]
fn a_cap_counts_what_was_given_to_a_subject_that_nobody_decides_on_any_more() {
    for says in [Review, Fails, Gone, Decline, Award(1)] {
        let policy = policy("p", AT_MOST);
        let mut customer = Customer::new(&[(&policy, "a"), (&policy, "b")]);
        assert_eq!(customer.round(&[Some(Award(700)), None]), [700, 0]);
        assert_eq!(customer.round(&[Some(says), Some(Award(900))]), [0, 300], "{says:?}");
        assert_eq!(customer.round(&[Some(Award(2_000)), Some(Award(900))]), [0, 0], "{says:?}");
    }
}

#[test]
fn a_loss_that_was_paid_is_not_paid_elsewhere_whatever_is_said_of_it_since() {
    for says in [Review, Fails, Gone, Decline, Award(1)] {
        let (one, other) = (policy("one", GROUP), policy("other", GROUP));
        let mut customer = Customer::new(&[(&one, "a"), (&other, "b")]);
        assert_eq!(customer.round(&[Some(Award(1_000)), Some(Award(600))]), [1_000, 0]);
        assert_eq!(customer.round(&[Some(says), Some(Award(600))]), [0, 0], "{says:?}");
        assert_eq!(customer.round(&[Some(says), Some(Award(1_100))]), [0, 100], "{says:?}: the difference");
    }
}

#[test]
fn what_was_reversed_leaves_room_for_others_and_is_not_credited_again() {
    let capped = policy("p", AT_MOST);
    let mut customer = Customer::new(&[(&capped, "a"), (&capped, "b")]);
    assert_eq!(customer.round(&[Some(Award(1_000)), None]), [1_000, 0]);
    customer.reversed[0] = 400;
    assert_eq!(customer.round(&[Some(Award(1_000)), Some(Award(900))]), [0, 400]);
    assert_eq!(customer.kept(), 1_000);
    // A claim that was paid, declined since and reversed no longer stands in the way of another for the same loss.
    let (one, other) = (policy("one", GROUP), policy("other", GROUP));
    let mut customer = Customer::new(&[(&one, "a"), (&other, "b")]);
    assert_eq!(customer.round(&[Some(Award(1_000)), None]), [1_000, 0]);
    customer.reversed[0] = 1_000;
    assert_eq!(customer.round(&[Some(Gone), Some(Award(600))]), [0, 600]);
}

#[test]
fn a_minimum_is_made_up_once_however_many_subjects_come_later() {
    let policy = policy("p", AT_LEAST);
    let mut customer = Customer::new(&[(&policy, "a"), (&policy, "b")]);
    assert_eq!(customer.round(&[None, Some(Award(100))]), [0, 150]);
    assert_eq!(customer.round(&[Some(Award(20)), Some(Award(100))]), [0, 0], "120 are owed, 150 were given");
    assert_eq!(customer.round(&[Some(Award(80)), Some(Award(100))]), [30, 0], "180 are owed");
    // What was given beyond the minimum was given for a loss of its own.
    let mut customer = Customer::new(&[(&policy, "a"), (&policy, "b")]);
    assert_eq!(customer.round(&[None, Some(Award(500))]), [0, 500]);
    assert_eq!(customer.round(&[Some(Award(80)), Some(Award(500))]), [80, 0]);
}

#[test]
fn a_place_among_the_first_is_counted_once_whatever_is_said_of_whoever_has_it() {
    for says in [Review, Fails, Gone, Decline] {
        let policy = policy("p", "[[cap]]\nper = \"programme\"\nasset = \"KRW\"\ntakers = 5\n");
        let mut customer = Customer::new(&[(&policy, "a"), (&policy, "b")]);
        assert_eq!(customer.round(&[Some(Award(10)), None]), [10, 0]);
        assert_eq!(customer.round(&[Some(says), Some(Award(10))]), [0, 10]);
        let used = customer.programme.used("p", &AssetCode::parse("KRW").unwrap());
        assert_eq!(used, Used { amount: Amount::from_minor(20), takers: 1 }, "{says:?}");
    }
}

fn says() -> impl Strategy<Value = Option<Says>> {
    prop_oneof![
        4 => (0_i64..1_500).prop_map(|amount| Some(Award(amount))),
        1 => Just(Some(Decline)),
        1 => Just(Some(Review)),
        1 => Just(Some(Fails)),
        1 => Just(Some(Gone)),
        1 => Just(None),
    ]
}

/// Rounds of three subjects. One that was there is never without a word again: what was given to it is in the ledger.
fn rounds() -> impl Strategy<Value = Vec<Vec<Option<Says>>>> {
    prop::collection::vec(prop::collection::vec(says(), 3), 1..8).prop_map(|mut rounds| {
        for at in 0..3 {
            let mut there = false;
            for round in &mut rounds {
                there |= round[at].is_some();
                if there && round[at].is_none() {
                    round[at] = Some(Gone);
                }
            }
        }
        rounds
    })
}

fn awarded(round: &[Option<Says>]) -> impl Iterator<Item = i64> + '_ {
    round.iter().filter_map(|says| if let Some(Award(amount)) = says { Some(*amount) } else { None })
}

proptest! {
    #[test]
    fn no_history_exceeds_a_cap(rounds in rounds(), back in prop::collection::vec(0_i64..100, 3)) {
        let policy = policy("p", AT_MOST);
        let mut customer = Customer::new(&[(&policy, "a"), (&policy, "b"), (&policy, "c")]);
        for round in &rounds {
            customer.round(round);
            prop_assert!(customer.kept() <= 1_000, "{} after {:?}", customer.kept(), rounds);
            let Customer { given, reversed, .. } = &mut customer;
            for ((reversed, given), back) in reversed.iter_mut().zip(given).zip(&back).filter(|((back, _), _)| **back == 0) {
                *reversed = *given * back / 100;
            }
        }
    }

    #[test]
    fn no_history_pays_one_loss_beyond_the_highest_that_was_ever_awarded(rounds in rounds()) {
        let (one, other) = (policy("one", GROUP), policy("other", GROUP));
        let mut customer = Customer::new(&[(&one, "a"), (&other, "b"), (&other, "c")]);
        let mut highest = 0;
        for round in &rounds {
            customer.round(round);
            highest = awarded(round).chain([highest]).max().unwrap();
            prop_assert!(customer.kept() <= highest, "{} of {highest} after {:?}", customer.kept(), rounds);
        }
    }

    /// Where all is decided: what stands until somebody decides may hold a part of the minimum, which nobody can tell then.
    #[test]
    fn a_minimum_is_reached_and_no_history_pays_more_for_it(mut rounds in rounds()) {
        for says in rounds.iter_mut().flatten().filter(|says| !matches!(says, None | Some(Award(_)))) {
            *says = Some(Decline);
        }
        let policy = policy("p", AT_LEAST);
        let mut customer = Customer::new(&[(&policy, "a"), (&policy, "b"), (&policy, "c")]);
        let mut highest = [0_i64; 3];
        for round in &rounds {
            customer.round(round);
            let total: i64 = awarded(round).sum();
            prop_assert!(total == 0 || customer.kept() >= total.max(150), "{} after {:?}", customer.kept(), rounds);
            for (highest, says) in highest.iter_mut().zip(round) {
                if let Some(Award(amount)) = says {
                    *highest = (*highest).max(*amount);
                }
            }
            let most = highest.iter().sum::<i64>().max(150);
            prop_assert!(customer.kept() <= most, "{} of {most} after {:?}", customer.kept(), rounds);
        }
    }
}

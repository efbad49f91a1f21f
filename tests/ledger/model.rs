//! Histories made at random, held step by step against a model that fits on a page: what the model allows must be done,
//! what it refuses must be refused and move nothing, and after every step all balances are the model's.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::{credits, import, publish, record, reverse};
use crate::harness::{INCIDENT, Ran, Random, Redress};

/// Histories, and commands in each.
const HISTORIES: u32 = 6;
const COMMANDS: usize = 24;
const CUSTOMERS: usize = 3;

#[derive(Debug, Clone)]
enum Command {
    Authorise(i64),
    Approve(i64),
    Reject(i64),
    Raise,
    Issue,
    Leave { verb: &'static str, credit: usize, attempt: u16, amount: Option<i64> },
    WriteOff { credit: usize, amount: Option<i64> },
    Reverse { credit: usize, movement: Option<usize>, amount: Option<i64> },
}

fn commands() -> impl Strategy<Value = Vec<Command>> {
    let pence = || prop::option::of(prop::sample::select(vec![1_i64, 50, 100, 250, 300, 1000]));
    let budget = || prop::sample::select(vec![500_i64, 1200]);
    let leave = |verb| {
        (0..6_usize, 1..4_u16, pence()).prop_map(move |(credit, attempt, amount)| Command::Leave {
            verb,
            credit,
            attempt,
            amount,
        })
    };
    let command = prop_oneof![
        2 => budget().prop_map(Command::Authorise),
        2 => budget().prop_map(Command::Approve),
        1 => budget().prop_map(Command::Reject),
        1 => Just(Command::Raise),
        4 => Just(Command::Issue),
        4 => leave("deliver"),
        2 => leave("expire"),
        1 => (0..6_usize, pence()).prop_map(|(credit, amount)| Command::WriteOff { credit, amount }),
        6 => (0..6_usize, prop::option::of(0..4_usize), pence())
            .prop_map(|(credit, movement, amount)| Command::Reverse { credit, movement, amount }),
    ];
    prop::collection::vec(command, COMMANDS)
}

/// Where a movement took its amount, in pence.
struct Moved {
    account: &'static str,
    attempt: u16,
    amount: i64,
    /// Whether a reversal named it; `None` where it is a reversal itself.
    reversed: Option<bool>,
}

struct Credit {
    customer: usize,
    /// Its place among the customer's credits.
    place: usize,
    amount: i64,
    owed: i64,
    reversed: bool,
    moved: Vec<Moved>,
}

/// The whole of Redress, as far as this test is concerned.
#[derive(Default)]
struct Model {
    times: i64,
    pending: BTreeMap<i64, u32>,
    balances: BTreeMap<&'static str, i64>,
    had: [i64; CUSTOMERS],
    credits: Vec<Credit>,
}

const FEES: [i64; CUSTOMERS] = [250, 300, 101];

impl Model {
    fn shift(&mut self, from: &'static str, to: &'static str, amount: i64) {
        *self.balances.entry(from).or_default() -= amount;
        *self.balances.entry(to).or_default() += amount;
    }

    /// What must come of a command; nothing has changed where it is refused.
    fn apply(&mut self, command: &Command) -> bool {
        match *command {
            Command::Authorise(amount) => *self.pending.entry(amount).or_default() += 1,
            Command::Approve(amount) | Command::Reject(amount) => {
                let Some(open) = self.pending.get_mut(&amount).filter(|open| **open > 0) else { return false };
                *open -= 1;
                if matches!(command, Command::Approve(_)) {
                    self.shift("expense", "provision", amount);
                }
            }
            Command::Raise => self.times += 1,
            Command::Issue => {
                let due: Vec<i64> =
                    (0..CUSTOMERS).map(|customer| FEES[customer] * self.times - self.had[customer]).collect();
                if due.iter().sum::<i64>() > self.balances["provision"] {
                    return false;
                }
                for (customer, amount) in due.into_iter().enumerate().filter(|(_, amount)| *amount > 0) {
                    let place = self.credits.iter().filter(|credit| credit.customer == customer).count();
                    self.credits.push(Credit {
                        customer,
                        place,
                        amount,
                        owed: amount,
                        reversed: false,
                        moved: Vec::new(),
                    });
                    self.had[customer] += amount;
                    self.shift("provision", "owed", amount);
                }
            }
            Command::Leave { verb, credit, attempt, amount } => {
                let account = if verb == "deliver" { "delivered" } else { "breakage" };
                let credit = &mut self.credits[credit];
                if let Some(known) = credit.moved.iter().find(|m| m.account == account && m.attempt == attempt) {
                    return amount.is_none_or(|amount| amount == known.amount);
                }
                return self.leave(command, account, attempt, amount);
            }
            Command::WriteOff { amount, .. } => return self.leave(command, "suspense", 0, amount),
            Command::Reverse { credit, movement, amount } => {
                let credit = &mut self.credits[credit];
                match movement {
                    None => {
                        let amount = amount.unwrap_or(credit.amount);
                        if credit.reversed || amount > credit.owed {
                            return false;
                        }
                        credit.reversed = true;
                        credit.owed -= amount;
                        credit.moved.push(Moved { account: "provision", attempt: 0, amount, reversed: None });
                        self.shift("owed", "provision", amount);
                    }
                    Some(place) => {
                        let Some(original) = credit.moved.get_mut(place) else { return false };
                        let amount = amount.unwrap_or(original.amount);
                        if original.reversed != Some(false) || amount > original.amount {
                            return false;
                        }
                        original.reversed = Some(true);
                        let from = original.account;
                        credit.owed += amount;
                        credit.moved.push(Moved { account: "owed", attempt: 0, amount, reversed: None });
                        self.shift(from, "owed", amount);
                    }
                }
            }
        }
        true
    }

    fn leave(&mut self, command: &Command, account: &'static str, attempt: u16, amount: Option<i64>) -> bool {
        let (Command::Leave { credit, .. } | Command::WriteOff { credit, .. }) = *command else { return false };
        let credit = &mut self.credits[credit];
        let amount = amount.unwrap_or(credit.owed);
        if credit.owed == 0 || amount > credit.owed {
            return false;
        }
        credit.owed -= amount;
        credit.moved.push(Moved { account, attempt, amount, reversed: Some(false) });
        self.shift("owed", account, amount);
        true
    }
}

/// A command that is possible at all in this state: credits are named by their place among those that exist.
fn possible(model: &Model, command: &Command) -> Option<Command> {
    let mut command = command.clone();
    match &mut command {
        Command::Leave { credit, .. } | Command::WriteOff { credit, .. } | Command::Reverse { credit, .. } => {
            *credit = credit.checked_rem(model.credits.len())?;
        }
        Command::Raise if model.times >= 3 => return None,
        _ => {}
    }
    Some(command)
}

fn pounds(pence: i64) -> String {
    format!("{}{}.{:02}", if pence < 0 { "-" } else { "" }, pence.abs() / 100, pence.abs() % 100)
}

/// Gives the command to the program.
fn give(redress: &Redress, model: &Model, command: &Command) -> Ran {
    let budget = |verb: &str, amount: i64, by: &str| {
        let amount = pounds(amount);
        let budget = ["--incident", INCIDENT, "--service", "melon", "--asset", "GBP", "--amount", &amount];
        redress.run(&[["budget", verb].as_slice(), &budget, &["--as", by]].concat())
    };
    let name = |credit: usize| format!("c-{}", model.credits[credit].customer);
    let listed = |credit: usize| credits(redress, &name(credit))[model.credits[credit].place].clone();
    let id = |credit: usize| listed(credit)["id"].as_str().unwrap().to_owned();
    match *command {
        Command::Authorise(amount) => budget("authorise", amount, "finance"),
        Command::Approve(amount) => budget("approve", amount, "finance-2"),
        Command::Reject(amount) => budget("reject", amount, "finance-2"),
        Command::Raise => {
            publish(redress, u32::try_from(model.times).unwrap() + 1);
            redress.run(&["verify"])
        }
        Command::Issue => redress.run(&["issue", "--incident", INCIDENT]),
        Command::Leave { verb, credit, attempt, amount } => {
            let amount = amount.map(pounds).unwrap_or_default();
            record(redress, verb, &format!("{},{},{amount},{attempt},\n", name(credit), id(credit)))
        }
        Command::WriteOff { credit, amount } => {
            let (id, amount) = (id(credit), amount.map(pounds));
            let more: Vec<&str> = amount.as_deref().into_iter().flat_map(|amount| ["--amount", amount]).collect();
            redress.run(&[&["credit", "write-off", &id, "--reason", "lost", "--as", "finance"], &more[..]].concat())
        }
        Command::Reverse { credit, movement, amount } => {
            let listed = listed(credit);
            let original = match movement {
                None => listed["id"].as_str(),
                Some(place) => listed["movements"][place]["transfer"].as_str(),
            };
            // A movement that does not exist is named by an id that nothing has.
            let original = original.unwrap_or("00000000-0000-8000-8000-000000000000");
            let amount = amount.map(pounds);
            let more: Vec<&str> = amount.as_deref().into_iter().flat_map(|amount| ["--amount", amount]).collect();
            reverse(redress, &[original], &more)
        }
    }
}

/// The balances of the accounts, by the first part of their names, as the program tells them.
fn told(redress: &Redress) -> BTreeMap<String, String> {
    let answer = redress.json(&["ledger", "balance", ""]);
    let balances = answer["balances"].as_array().unwrap().iter().map(|balance| {
        let account = balance["account"].as_str().unwrap().split('/').next().unwrap().to_owned();
        (account, balance["balance"].as_str().unwrap().to_owned())
    });
    balances.collect()
}

fn play(history: &[Command]) {
    Redress::test(|redress| {
        redress.with_incident().with_staff();
        publish(redress, 1);
        let fees = FEES.map(pounds);
        import(redress, &[("c-0", "h", &fees[0]), ("c-1", "h", &fees[1]), ("c-2", "h", &fees[2])]);
        redress.with_budget("melon", "GBP", "7.00");
        let mut model = Model { times: 1, ..Model::default() };
        model.shift("expense", "provision", 700);
        model.shift("owed", "owed", 0);
        for wanted in history {
            let Some(command) = possible(&model, wanted) else { continue };
            let ran = give(redress, &model, &command);
            let allowed = model.apply(&command);
            assert_eq!(ran.code, Some(i32::from(!allowed)), "{command:?}: {}{}", ran.stdout, ran.stderr);
            let mut expected: BTreeMap<String, String> =
                model.balances.iter().map(|(account, pence)| ((*account).to_owned(), pounds(*pence))).collect();
            let told = told(redress);
            // An account may be opened by an attempt that was refused then; it has nothing.
            expected.extend(
                told.keys().filter(|k| !expected.contains_key(*k)).map(|k| (k.clone(), pounds(0))).collect::<Vec<_>>(),
            );
            assert_eq!(told, expected, "{command:?}");
        }
    });
}

#[test]
fn random_histories_do_what_the_model_does() {
    let mut random = Random::new("random_histories_do_what_the_model_does");
    let seed: Vec<u8> = (0..32).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
    let config = Config { cases: HISTORIES, failure_persistence: None, max_shrink_iters: 60, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    runner
        .run(&commands(), |history| {
            play(&history);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

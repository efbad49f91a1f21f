//! Many at once: whatever they do to the same credits in whatever order, the sum of all balances of an asset is zero at
//! every moment, and an answer that was given stays the answer.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use super::{credited, credits, import, record, reverse};
use crate::harness::{INCIDENT, Random, Redress};

const THREADS: u64 = 16;
/// Commands of each thread.
const COMMANDS: u64 = 6;

/// Asks for all balances until told to stop; each answer's totals must be zero. Returns the answers.
fn sample(redress: &Redress, stop: &AtomicBool) -> Vec<Value> {
    let mut answers = Vec::new();
    while !stop.load(Ordering::Relaxed) || answers.is_empty() {
        let answer = redress.json(&["ledger", "balance", ""]);
        for total in answer["totals"].as_array().unwrap() {
            assert!(total["balance"].as_str().unwrap().chars().all(|c| "0.".contains(c)), "{answer}");
        }
        answers.push(answer);
    }
    answers
}

/// Asked again, every answer must be the same; accounts opened since had nothing then.
fn ask_again(redress: &Redress, answers: &[Value]) {
    for answer in answers {
        let again = redress.json(&["ledger", "balance", "", "--at", answer["at"].as_str().unwrap()]);
        let told = |value: &Value| -> Vec<Value> {
            let balances = value["balances"].as_array().unwrap().iter();
            balances
                .filter(|balance| balance["balance"].as_str().unwrap().contains(|c| "123456789".contains(c)))
                .cloned()
                .collect()
        };
        assert_eq!(told(&again), told(answer));
    }
}

#[test]
fn sixteen_threads_of_random_commands_keep_every_sum_at_zero() {
    Redress::test(|redress| {
        let names: Vec<String> = (0..12).map(|n| format!("c-{n:02}")).collect();
        let holdings: Vec<(&str, &str, &str)> = names.iter().map(|name| (name.as_str(), "h", "10.00")).collect();
        credited(redress, &holdings);
        let ids: Vec<String> =
            names.iter().map(|name| credits(redress, name)[0]["id"].as_str().unwrap().to_owned()).collect();
        let mut random = Random::new("sixteen_threads_of_random_commands_keep_every_sum_at_zero");
        let seeds: Vec<Vec<u64>> =
            (0..THREADS).map(|_| (0..COMMANDS * 8).map(|_| random.below(1 << 40)).collect()).collect();
        let stop = AtomicBool::new(false);
        let answers = std::thread::scope(|scope| {
            let sampler = scope.spawn(|| sample(redress, &stop));
            let workers: Vec<_> = seeds
                .iter()
                .map(|numbers| {
                    let (names, ids) = (&names, &ids);
                    scope.spawn(move || {
                        numbers.chunks(8).for_each(|numbers| {
                            command(redress, names, ids, numbers);
                        });
                    })
                })
                .collect();
            let ended: Vec<_> = workers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
            stop.store(true, Ordering::Relaxed);
            ended.into_iter().for_each(|end| end.unwrap());
            sampler.join().unwrap()
        });
        assert!(answers.len() > 3, "only {} samples", answers.len());
        ask_again(redress, &answers);
        // No credit gave more than it was, whoever raced whom.
        let over = "SELECT count(*) FROM (SELECT sum(owed_before - owed_after) AS gone, max(issued) AS issued
                    FROM credit_movement GROUP BY customer_id, credit_id) AS c WHERE gone > issued OR gone < 0";
        assert_eq!(redress.number(over), 0);
    });
}

/// One command on credits that others move at the same moment: it is done or refused, never an error of ours.
fn command(redress: &Redress, names: &[String], ids: &[String], numbers: &[u64]) {
    let rows: String = numbers[1..4]
        .iter()
        .map(|number| {
            let place = (number % names.len() as u64) as usize;
            let amount = ["", "1.00", "4.50"][(number >> 8) as usize % 3];
            format!("{},{},{amount},{},\n", names[place], ids[place], 1 + (number >> 16) % 3)
        })
        .collect();
    let place = (numbers[4] % names.len() as u64) as usize;
    let ran = match numbers[0] % 6 {
        0 | 1 => record(redress, "deliver", &rows),
        2 => record(redress, "expire", &rows),
        3 => reverse(redress, &[&ids[place]], &["--amount", "2.00", "--customer", &names[place]]),
        4 => {
            let all = credits(redress, &names[place]);
            let moved =
                all[0]["movements"].as_array().unwrap().first().map(|m| m["transfer"].as_str().unwrap().to_owned());
            reverse(redress, &[moved.as_deref().unwrap_or(&ids[place])], &[])
        }
        _ => redress.run(&[
            "credit",
            "write-off",
            &ids[place],
            "--reason",
            "lost",
            "--as",
            "finance",
            "--amount",
            "0.50",
        ]),
    };
    assert!(matches!(ran.code, Some(0 | 1)), "{}", ran.stderr);
    for word in ["database", "corrupt", "constraint", "stood in the way"] {
        assert!(!ran.stderr.contains(word), "{}", ran.stderr);
    }
}

#[test]
fn answers_given_while_the_batch_runs_are_the_same_when_asked_again() {
    Redress::test(|redress| {
        credited(redress, &[("a", "h", "10.00")]);
        redress.with_budget("melon", "GBP", "1000000.00");
        let names: Vec<String> = (0..30_000).map(|n| format!("r-{n:06}")).collect();
        let holdings: Vec<(&str, &str, &str)> = names.iter().map(|name| (name.as_str(), "h", "3.00")).collect();
        import(redress, &holdings);
        let stop = AtomicBool::new(false);
        let answers = std::thread::scope(|scope| {
            let samplers: Vec<_> = (0..2).map(|_| scope.spawn(|| sample(redress, &stop))).collect();
            let report = redress.json(&["issue", "--incident", INCIDENT, "--workers", "2"]);
            stop.store(true, Ordering::Relaxed);
            assert_eq!(report["issued"], 30_000, "{report}");
            samplers.into_iter().flat_map(|sampler| sampler.join().unwrap()).collect::<Vec<_>>()
        });
        ask_again(redress, &answers);
        let owed = |answer: &Value| {
            let found = answer["balances"].as_array().unwrap().iter().find(|b| b["account"] == "owed/GBP").unwrap();
            found["balance"].as_str().unwrap().replace('.', "").parse::<i64>().unwrap()
        };
        let mut by_time: Vec<&Value> = answers.iter().collect();
        by_time.sort_by_key(|answer| answer["at"].as_str().unwrap().to_owned());
        assert!(by_time.windows(2).all(|pair| owed(pair[0]) <= owed(pair[1])), "credits went away while issuing");
    });
}

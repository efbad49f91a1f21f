//! The policy engine beside a hand-written function and beside the crate `cel`, facts bound anew for each subject;
//! and the simulation of a roster beside reading and evaluating alone.
#![allow(clippy::float_arithmetic, reason = "ratios of times; no money is counted here")]

mod baselines;
mod simulation;

use std::hint::black_box;

use redress_domain::policy::{ClaimView, Outcome, Policy, Subject};
use serde_json::{Map, Value, json};

use crate::report::{Report, Scale, median, processor_seconds, rounded};
use baselines::{
    Answer, Cel, K3, MELON, Melon, Merchant, cel_melon, cel_melon_flat, cel_merchant, cel_merchant_flat, melon,
    merchant,
};

/// What the issue demands.
const CEL_BAR: f64 = 20.0;
const TRACED_BAR: f64 = 5.0;
const HAND_BAR: f64 = 5.0;
const SIMULATION_BAR: f64 = 0.5;
/// Varied inputs on which all outputs are compared.
const INPUTS: usize = 1_024;
/// Many short rounds: what disturbs the machine for a while then disturbs few of them.
const ROUNDS: usize = 41;

/// How long one pass over all inputs takes, each way, in each round.
///
/// `cel` has the very conditions of the policy, rule by rule; `cel_flat` one expression over flat variables, which no
/// policy would be written as, but which suits CEL best.
struct Times {
    ours: Vec<f64>,
    traced: Vec<f64>,
    explained: Vec<f64>,
    hand: Vec<f64>,
    cel: Vec<f64>,
    cel_flat: Vec<f64>,
}

impl Times {
    fn new() -> Self {
        Self {
            ours: Vec::new(),
            traced: Vec::new(),
            explained: Vec::new(),
            hand: Vec::new(),
            cel: Vec::new(),
            cel_flat: Vec::new(),
        }
    }

    /// The median over rounds of one time divided by the other of the same round.
    fn ratio(above: &[f64], below: &[f64]) -> f64 {
        median(&above.iter().zip(below).map(|(a, b)| a / b).collect::<Vec<_>>())
    }

    fn write(&self, name: &str, to: &mut Map<String, Value>) {
        let nanos = |times: &[f64]| rounded(median(times) * 1e9 / INPUTS as f64);
        to.insert(format!("{name}_ours_ns"), json!(nanos(&self.ours)));
        to.insert(format!("{name}_traced_ns"), json!(nanos(&self.traced)));
        to.insert(format!("{name}_explained_in_words_ns"), json!(nanos(&self.explained)));
        to.insert(format!("{name}_hand_written_ns"), json!(nanos(&self.hand)));
        to.insert(format!("{name}_cel_ns"), json!(nanos(&self.cel)));
        to.insert(format!("{name}_cel_one_flat_expression_ns"), json!(nanos(&self.cel_flat)));
        to.insert(
            format!("{name}_cel_one_flat_expression_to_ours"),
            json!(rounded(Self::ratio(&self.cel_flat, &self.ours))),
        );
        to.insert(format!("{name}_cel_to_ours"), json!(rounded(Self::ratio(&self.cel, &self.ours))));
        to.insert(format!("{name}_cel_to_traced"), json!(rounded(Self::ratio(&self.cel, &self.traced))));
        to.insert(format!("{name}_ours_to_hand_written"), json!(rounded(Self::ratio(&self.ours, &self.hand))));
    }
}

pub(crate) fn run(scale: Scale) -> Result<Report, String> {
    let passes = match scale {
        Scale::Small => 10,
        Scale::Full => 50,
    };
    let k3 = measure_k3(passes)?;
    let melon = measure_melon(passes)?;
    let rows = match scale {
        Scale::Small => 100_000,
        Scale::Full => 1_000_000,
    };
    let simulated = simulation::measure(&compile(MELON)?, rows)?;

    let worst = |ratio: &dyn Fn(&Times) -> f64, highest: bool| {
        let (a, b) = (ratio(&k3), ratio(&melon));
        if highest { a.max(b) } else { a.min(b) }
    };
    let ratio = worst(&|times| Times::ratio(&times.cel, &times.ours), false);
    let traced = worst(&|times| Times::ratio(&times.cel, &times.traced), false);
    let hand = worst(&|times| Times::ratio(&times.ours, &times.hand), true);
    let mut figures = Map::new();
    k3.write("k3", &mut figures);
    melon.write("melon", &mut figures);
    figures.insert("worst_ours_to_hand_written".to_owned(), json!(rounded(hand)));
    figures.insert("worst_ours_to_hand_written_bar".to_owned(), json!(HAND_BAR));
    figures.insert("worst_cel_to_traced".to_owned(), json!(rounded(traced)));
    figures.insert("worst_cel_to_traced_bar".to_owned(), json!(TRACED_BAR));
    figures.insert("inputs_compared".to_owned(), json!(INPUTS));
    figures.insert("simulation_rows".to_owned(), json!(rows));
    figures.insert("simulation_speed_to_reading_and_evaluating".to_owned(), json!(rounded(simulated.speed)));
    figures.insert("simulation_speed_bar".to_owned(), json!(SIMULATION_BAR));
    figures.insert("simulation_rows_per_second".to_owned(), json!(simulated.rows_per_second));
    figures.insert("simulation_memory_growth_kib".to_owned(), json!(simulated.memory_growth_kib));
    let holds = ratio >= CEL_BAR && traced >= TRACED_BAR && hand <= HAND_BAR && simulated.speed >= SIMULATION_BAR;
    Ok(Report { name: "policy", ratio, bar: CEL_BAR, holds, rounds: ROUNDS, figures })
}

fn compile(source: &str) -> Result<Policy, String> {
    Policy::compile(source, "bench.toml")
        .map_err(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

/// Our outcome in the words of the baselines.
fn answer(outcome: &Outcome<'_>) -> Answer {
    match outcome {
        Outcome::Award { awards, .. } => match awards.iter().next() {
            Some(award) => Answer::Award(award.asset.code().as_str().starts_with("day:"), award.amount.minor()),
            None => Answer::Decline,
        },
        Outcome::Decline { .. } => Answer::Decline,
        Outcome::Review { .. } | Outcome::Pending { .. } => Answer::Review,
    }
}

/// What is timed in each round, once over all inputs.
struct Contestants<'a> {
    ours: &'a dyn Fn(usize) -> Answer,
    traced: &'a dyn Fn(usize) -> usize,
    explained: &'a dyn Fn(usize) -> usize,
    hand: &'a dyn Fn(usize) -> Answer,
    cel: &'a dyn Fn(usize) -> Answer,
    cel_flat: &'a dyn Fn(usize) -> Answer,
}

fn race(name: &str, passes: usize, of: &Contestants<'_>) -> Result<Times, String> {
    for input in 0..INPUTS {
        let (ours, hand, cel, flat) = ((of.ours)(input), (of.hand)(input), (of.cel)(input), (of.cel_flat)(input));
        if ours != hand || ours != cel || ours != flat {
            return Err(format!(
                "{name}, input {input}: ours {ours:?}, hand-written {hand:?}, cel {cel:?} and {flat:?}"
            ));
        }
    }
    let mut times = Times::new();
    for _ in 0..ROUNDS {
        let time = |passes: usize, work: &dyn Fn(usize)| {
            let all = processor_seconds(|| (0..passes).for_each(|_| (0..INPUTS).for_each(work)));
            all / passes as f64
        };
        times.ours.push(time(passes, &|input| {
            black_box((of.ours)(black_box(input)));
        }));
        times.hand.push(time(passes, &|input| {
            black_box((of.hand)(black_box(input)));
        }));
        times.cel.push(time(passes.div_ceil(5), &|input| {
            black_box((of.cel)(black_box(input)));
        }));
        times.cel_flat.push(time(passes.div_ceil(5), &|input| {
            black_box((of.cel_flat)(black_box(input)));
        }));
        times.traced.push(time(passes, &|input| {
            black_box((of.traced)(black_box(input)));
        }));
        times.explained.push(time(passes.div_ceil(5), &|input| {
            black_box((of.explained)(black_box(input)));
        }));
    }
    Ok(times)
}

fn measure_k3(passes: usize) -> Result<Times, String> {
    let policy = compile(K3)?;
    let inputs: Vec<Merchant> = (0..INPUTS).map(Merchant::varied).collect::<Option<_>>().ok_or("no inputs")?;
    let cel = Cel::k3()?;
    let subject = |input: usize| {
        let merchant = &inputs[input];
        let claim = ClaimView { submitted_at: None, fields: &merchant.fields };
        Subject { account: Some(&merchant.account), claim: Some(claim), ..Subject::default() }
    };
    race(
        "K3",
        passes,
        &Contestants {
            ours: &|input| policy.assess(&subject(input)).map_or(Answer::Error, |outcome| answer(&outcome)),
            traced: &|input| policy.trace(&subject(input)).len(),
            explained: &|input| policy.explain(&subject(input)).rules.len(),
            hand: &|input| merchant(&inputs[input]),
            cel: &|input| cel_merchant(&cel, &inputs[input]),
            cel_flat: &|input| cel_merchant_flat(&cel, &inputs[input]),
        },
    )
}

fn measure_melon(passes: usize) -> Result<Times, String> {
    let policy = compile(MELON)?;
    let inputs: Vec<Melon> = (0..INPUTS).map(Melon::varied).collect::<Option<_>>().ok_or("no inputs")?;
    let cel = Cel::melon()?;
    let subject = |input: usize| Subject { holding: Some(&inputs[input].holding), ..Subject::default() };
    race(
        "Melon",
        passes,
        &Contestants {
            ours: &|input| policy.assess(&subject(input)).map_or(Answer::Error, |outcome| answer(&outcome)),
            traced: &|input| policy.trace(&subject(input)).len(),
            explained: &|input| policy.explain(&subject(input)).rules.len(),
            hand: &|input| melon(&inputs[input]),
            cel: &|input| cel_melon(&cel, &inputs[input]),
            cel_flat: &|input| cel_melon_flat(&cel, &inputs[input]),
        },
    )
}

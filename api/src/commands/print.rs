//! How results look to a tired operator at 3 a.m.: aligned, plain, the bad news where the eye is.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use redress_domain::asset::grouped;
use redress_domain::run::RunState;
use redress_store::verify::{Check, MAX_FAULTS};
use rust_decimal::Decimal;
use serde::Serialize;

use redress_store::policies::short;

use super::doctor::Finding;
use crate::use_cases::issue::{Report, Watcher};
use crate::use_cases::reports::{Exposure, Liability, Portion, figure};
use crate::use_cases::simulate::Simulated;

/// One JSON document on stdout.
pub fn document(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => println!("{text}"),
        Err(error) => eprintln!("redress: the result cannot be written as JSON: {error}"),
    }
}

/// Minor units in the asset's unit, with thousands apart.
#[must_use]
pub fn amount(minor: Decimal, scale: i16) -> String {
    grouped(&figure(minor, scale))
}

/// How many columns a text takes on a terminal: Hangul and its like take two.
fn width(text: &str) -> usize {
    text.chars().map(|c| if matches!(u32::from(c), 0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xff00..=0xff60) { 2 } else { 1 }).sum()
}

/// Prints a table; a heading that begins with `>` is set to the right.
pub fn table(headings: &[&str], rows: &[Vec<String>]) {
    for line in lines(headings, rows) {
        println!("{line}");
    }
}

/// The lines of a table.
#[must_use]
pub fn lines(headings: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let names: Vec<&str> = headings.iter().map(|heading| heading.trim_start_matches('>')).collect();
    let widths: Vec<usize> = names
        .iter()
        .enumerate()
        .map(|(place, name)| {
            rows.iter().filter_map(|row| row.get(place)).map(|cell| width(cell)).chain([width(name)]).max().unwrap_or(0)
        })
        .collect();
    let line = |cells: &[&str]| {
        let mut out = String::from(" ");
        for (place, cell) in cells.iter().enumerate() {
            let pad = " ".repeat(widths.get(place).copied().unwrap_or(0).saturating_sub(width(cell)));
            let right = headings.get(place).is_some_and(|heading| heading.starts_with('>'));
            out.push(' ');
            out.push_str(&if right { format!("{pad}{cell}") } else { format!("{cell}{pad}") });
            out.push(' ');
        }
        out.trim_end().to_owned()
    };
    let mut all = vec![line(&names)];
    all.extend(rows.iter().map(|row| line(&row.iter().map(String::as_str).collect::<Vec<_>>())));
    all
}

/// So many of something, in words: `1 credit`, `2,000 policies`.
pub fn counted(count: u64, what: &str) -> String {
    let number = grouped(&count.to_string());
    match (count, what.strip_suffix('y')) {
        (1, _) => format!("1 {what}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        (_, None) => format!("{number} {what}s"),
    }
}

/// What an execution of the batch job did, or would do.
pub fn issue(report: &Report, dry_run: bool) {
    let mut rows = Vec::new();
    for (policy, tally) in &report.tally.policies {
        let declined: u64 = tally.declined.values().sum();
        let figures = [tally.granted, declined, tally.review, tally.failed];
        rows.push([policy.clone()].into_iter().chain(figures.map(|n| grouped(&n.to_string()))).collect::<Vec<_>>());
    }
    if !rows.is_empty() {
        table(&["policy", ">granted", ">nothing", ">to people", ">not assessable"], &rows);
        println!();
    }
    // A run that waits for a second person has issued nothing, and what is shown is its plan.
    let waits = report.state == Some(RunState::Planned);
    let only_planned = dry_run || waits;
    let mut rows = Vec::new();
    for budget in &report.budgets {
        let state = if only_planned && budget.needed > budget.left { "NOT ENOUGH" } else { "" };
        rows.push(vec![
            budget.service.clone(),
            budget.asset.clone(),
            amount(Decimal::from(budget.needed), budget.scale),
            amount(Decimal::from(budget.left), budget.scale),
            state.to_owned(),
        ]);
    }
    if !rows.is_empty() {
        table(
            &["service", "asset", if only_planned { ">would issue" } else { ">issued" }, ">left in budget", ""],
            &rows,
        );
        println!();
    }
    if dry_run {
        println!("{} would be issued; nothing was written.", counted(report.tally.credits, "credit"));
        println!("Plan {}", report.plan.as_deref().unwrap_or_default());
    } else if waits {
        println!("Nothing is issued yet: {} wait for approval.", counted(report.tally.credits, "credit"));
    } else {
        let resumed = if report.resumed { ", going on where an earlier execution stopped" } else { "" };
        println!("{} issued{resumed}.", counted(report.issued, "credit"));
    }
    if report.tally.policies.is_empty() && report.stopped.is_none() && !report.resumed {
        println!(
            "No policy in force applies to anything that is held or was granted: redress policy publish, then approve."
        );
    }
    if report.tally.exceptions > 0 {
        let were = match (only_planned, report.tally.exceptions) {
            (true, _) => "would be",
            (false, 1) => "was",
            (false, _) => "were",
        };
        println!("{} {were} set aside for a person.", counted(report.tally.exceptions, "subject"));
    }
    if let Some(reason) = &report.stopped {
        let verb = if waits { "WAITS FOR APPROVAL" } else { "STOPPED" };
        println!("{verb}: {reason}");
    }
}

/// What a policy would do.
pub fn simulation(done: &Simulated) {
    let report = &done.simulation;
    let count = |n: u64| grouped(&n.to_string());
    println!("{} {}: {} subjects", report.policy, short(&report.version), count(report.subjects));
    let rows: Vec<Vec<String>> =
        report.rules.iter().map(|rule| vec![rule.rule.clone(), rule.outcome.clone(), count(rule.subjects)]).collect();
    println!();
    table(&["rule", "outcome", ">subjects"], &rows);
    println!();
    let worth = |text: &Option<String>| text.as_deref().map(grouped_worth).unwrap_or_default();
    let rows: Vec<Vec<String>> = report
        .assets
        .iter()
        .map(|asset| {
            let least_to_most = format!("{} to {}", grouped(&asset.least), grouped(&asset.most));
            vec![
                asset.asset.clone(),
                count(asset.awards),
                grouped(&asset.sum),
                least_to_most,
                worth(&asset.face),
                worth(&asset.usable),
                worth(&asset.cost),
            ]
        })
        .collect();
    table(&["asset", ">awards", ">amount", ">each", ">face value", ">usable", ">cost"], &rows);
    if !report.nothing.is_empty() {
        println!("\nWho gets nothing:");
    }
    for nothing in &report.nothing {
        let reasons: Vec<&str> = nothing.reasons.keys().map(String::as_str).collect();
        let examples = nothing.examples.join(", ");
        println!("  {}: {} ({}), such as {examples}", nothing.rule, count(nothing.subjects), reasons.join(", "));
    }
    for error in &report.errors {
        println!(
            "  not assessable: {} ({}), such as {}",
            count(error.subjects),
            error.message,
            error.examples.join(", ")
        );
    }
    if let Some(compared) = &done.compared {
        println!(
            "\nAgainst the version in force, {}: {} get the same",
            short(&compared.before),
            count(compared.unchanged)
        );
        for shift in &compared.assets {
            for (verb, side) in [("gain", &shift.gain), ("lose", &shift.lose)] {
                if side.subjects > 0 {
                    let examples = side.examples.join(", ");
                    println!(
                        "  {} {verb} {} {} together, such as {examples}",
                        count(side.subjects),
                        grouped(&side.sum),
                        shift.asset
                    );
                }
            }
        }
    }
    for note in &done.notes {
        println!("\nNote: {note}.");
    }
}

/// What an operator stands for.
pub fn exposure(report: &Exposure) {
    for incident in &report.incidents {
        println!("Incident {}", incident.incident);
        let rows: Vec<Vec<String>> = incident
            .budgets
            .iter()
            .map(|b| {
                let figures = [&b.approved, &b.released, &b.issued, &b.left].map(|figure| grouped(figure));
                [b.service.clone(), b.asset.clone()].into_iter().chain(figures).collect()
            })
            .collect();
        table(&["service", "asset", ">approved", ">given back", ">issued", ">left"], &rows);
        println!();
        let rows: Vec<Vec<String>> = incident
            .credits
            .iter()
            .map(|credit| {
                let worth = |text: &Option<String>| text.as_deref().map(grouped_worth).unwrap_or_default();
                vec![
                    credit.policy.clone(),
                    credit.asset.clone(),
                    grouped(&credit.credits.to_string()),
                    grouped(&credit.amount),
                    grouped(&credit.reversed),
                    grouped(&credit.breakage),
                    worth(&credit.face),
                    worth(&credit.cost),
                ]
            })
            .collect();
        table(&["policy", "asset", ">credits", ">amount", ">reversed", ">breakage", ">face value", ">cost"], &rows);
    }
}

/// What became of what was credited.
pub fn liability(report: &Liability) {
    for incident in &report.incidents {
        println!("Incident {}", incident.incident);
        let rows: Vec<Vec<String>> = incident
            .lines
            .iter()
            .flat_map(|line| {
                let parts: [(&str, &Portion); 6] = [
                    ("issued", &line.issued),
                    ("owed", &line.owed),
                    ("delivered", &line.delivered),
                    ("breakage", &line.breakage),
                    ("suspense", &line.suspense),
                    ("reversed", &line.reversed),
                ];
                parts
                    .into_iter()
                    .filter(|(name, part)| {
                        *name == "issued" || part.amount.contains(['1', '2', '3', '4', '5', '6', '7', '8', '9'])
                    })
                    .map(|(name, part)| {
                        let worth = |text: &Option<String>| text.as_deref().map(grouped_worth).unwrap_or_default();
                        vec![
                            if name == "issued" { line.policy.clone() } else { String::new() },
                            if name == "issued" { line.asset.clone() } else { String::new() },
                            name.to_owned(),
                            grouped(&part.amount),
                            worth(&part.face),
                            worth(&part.cost),
                        ]
                    })
            })
            .collect();
        table(&["policy", "asset", "", ">amount", ">face value", ">cost"], &rows);
        let mut by_hand: Vec<&str> = incident
            .lines
            .iter()
            .filter(|line| line.delivery == Some("by-hand") && line.owed.amount.contains(|c| ('1'..='9').contains(&c)))
            .map(|line| line.service.as_str())
            .collect();
        by_hand.dedup();
        if !by_hand.is_empty() {
            println!(
                "What {} owe stays owed until it is delivered by hand: no webhook tells them (redress webhook add, or\n\
                 redress credit deliver FILE).",
                by_hand.join(", ")
            );
        }
    }
}

/// `1500 KRW` with its thousands apart.
fn grouped_worth(text: &str) -> String {
    text.split_once(' ').map_or_else(|| text.to_owned(), |(number, asset)| format!("{} {asset}", grouped(number)))
}

/// What reading the books again showed.
pub fn verify(checks: &[Check]) {
    for check in checks {
        let mark = if check.faults.is_empty() { "ok  " } else { "FAIL" };
        println!("{mark} {} ({} rows)", check.name, grouped(&check.rows.to_string()));
        for fault in &check.faults {
            println!("       {fault}");
        }
        if i64::try_from(check.faults.len()).is_ok_and(|faults| faults == MAX_FAULTS) {
            println!("       … and perhaps more");
        }
    }
}

/// One finding of the doctor.
pub fn finding(finding: &Finding) {
    let mark = if finding.ok { "ok  " } else { "FAIL" };
    println!("{mark} {}: {}", finding.subject, finding.seen);
    if let Some(remedy) = &finding.remedy {
        println!("       remedy: {remedy}");
    }
}

/// How often progress is said in plain lines.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// Progress of the batch job on stderr: a bar on a terminal, else a plain line now and then.
pub struct Progress {
    bar: ProgressBar,
    lines: Mutex<Lines>,
}

struct Lines {
    started: Instant,
    said: Instant,
    chunks: u64,
    done: u64,
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress {
    /// Nothing is shown until the job begins.
    #[must_use]
    pub fn new() -> Self {
        let now = Instant::now();
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("  issuing {wide_bar} {pos}/{len} chunks · {msg} · {eta} left")
        {
            bar.set_style(style);
        }
        Self { bar, lines: Mutex::new(Lines { started: now, said: now, chunks: 0, done: 0 }) }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Watcher for Progress {
    fn begin(&self, chunks: u64, done: u64) {
        self.bar.set_length(chunks);
        self.bar.set_position(done);
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        (lines.chunks, lines.done, lines.started) = (chunks, done, Instant::now());
    }

    fn advance(&self, credits: u64) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.done += 1;
        let per_second = u128::from(credits) * 1000 / lines.started.elapsed().as_millis().max(1);
        let figures = format!("{} credits, {}/s", grouped(&credits.to_string()), grouped(&per_second.to_string()));
        self.bar.set_message(figures.clone());
        self.bar.inc(1);
        if self.bar.is_hidden() && lines.said.elapsed() >= LINE_EVERY {
            lines.said = Instant::now();
            eprintln!("issuing: {}/{} chunks, {figures}", lines.done, lines.chunks);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_grouped_and_tables_aligned() {
        assert_eq!(grouped("1234567.50"), "1,234,567.50");
        assert_eq!(grouped("-1000"), "-1,000");
        assert_eq!(grouped("999"), "999");
        let rows = vec![vec!["멜론".to_owned(), "3".to_owned()], vec!["a".to_owned(), "1,000".to_owned()]];
        assert_eq!(lines(&["service", ">n"], &rows), ["  service      n", "  멜론         3", "  a        1,000"]);
    }
}

//! What every benchmark prints, and how it measures: medians over rounds, never a mean over outliers.
#![allow(clippy::float_arithmetic, reason = "ratios of times; no money is counted here")]

use serde_json::{Map, Value, json};

/// How much work a benchmark does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Within a minute.
    Small,
    /// As its issue states it.
    Full,
}

/// One benchmark's result.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) name: &'static str,
    /// The median that the issue names.
    pub(crate) ratio: f64,
    /// What it must reach.
    pub(crate) bar: f64,
    /// Whether every bar of the issue is met.
    pub(crate) holds: bool,
    pub(crate) rounds: usize,
    pub(crate) figures: Map<String, Value>,
}

impl Report {
    pub(crate) fn to_json(&self) -> String {
        json!({
            "name": self.name,
            "ratio": rounded(self.ratio),
            "bar": self.bar,
            "holds": self.holds,
            "rounds": self.rounds,
            "figures": self.figures,
        })
        .to_string()
    }

    pub(crate) fn to_text(&self) -> String {
        let mut out = format!(
            "{}: ratio {} (bar {}), {} rounds: {}",
            self.name,
            rounded(self.ratio),
            self.bar,
            self.rounds,
            if self.holds { "holds" } else { "DOES NOT HOLD" }
        );
        for (name, value) in &self.figures {
            out.push_str(&format!("\n  {name:<44} {value}"));
        }
        out
    }
}

/// Three significant digits are all that a measurement has.
pub(crate) fn rounded(value: f64) -> f64 {
    format!("{value:.3}").parse().unwrap_or(value)
}

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Seconds of this thread's own processor time that some work takes: what other programs do meanwhile does not count.
pub(crate) fn processor_seconds(work: impl FnOnce()) -> f64 {
    let now = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let started = now();
    work();
    let ended = now();
    (ended.tv_sec - started.tv_sec) as f64 + (ended.tv_nsec - started.tv_nsec) as f64 / 1e9
}

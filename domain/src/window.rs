//! A stretch of time `[from, until)`: the end is not part of it, so that neighbours never overlap.

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};

/// A half-open stretch of time. Never empty or reversed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "RawWindow")]
pub struct Window {
    from: DateTime<Utc>,
    until: DateTime<Utc>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWindow {
    from: DateTime<Utc>,
    until: DateTime<Utc>,
}

/// A window whose end is not after its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a window must end after it begins, but {until} is not after {from}")]
pub struct WindowError {
    from: DateTime<Utc>,
    until: DateTime<Utc>,
}

impl TryFrom<RawWindow> for Window {
    type Error = WindowError;
    fn try_from(raw: RawWindow) -> Result<Self, WindowError> {
        Self::new(raw.from, raw.until)
    }
}

impl Window {
    /// A window from one instant until before another.
    pub fn new(from: DateTime<Utc>, until: DateTime<Utc>) -> Result<Self, WindowError> {
        if from < until { Ok(Self { from, until }) } else { Err(WindowError { from, until }) }
    }

    /// The first instant.
    #[must_use]
    pub fn from(&self) -> DateTime<Utc> {
        self.from
    }

    /// The first instant after it.
    #[must_use]
    pub fn until(&self) -> DateTime<Utc> {
        self.until
    }

    /// How long it is.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.until - self.from
    }

    /// Whether an instant lies in it.
    #[must_use]
    pub fn contains(&self, at: DateTime<Utc>) -> bool {
        self.from <= at && at < self.until
    }

    /// The part both have in common.
    #[must_use]
    pub fn overlap(&self, other: &Self) -> Option<Self> {
        Self::new(self.from.max(other.from), self.until.min(other.until)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn the_end_is_outside_and_neighbours_do_not_overlap() {
        let first = Window::new(at("2022-10-15T06:30:00Z"), at("2022-10-16T00:00:00Z")).unwrap();
        let second = Window::new(at("2022-10-16T00:00:00Z"), at("2022-10-17T00:00:00Z")).unwrap();
        assert!(!first.contains(first.until()) && second.contains(first.until()));
        assert_eq!(first.overlap(&second), None);
        assert!(Window::new(first.until(), first.from()).is_err());
        assert!(Window::new(first.from(), first.from()).is_err());
    }
}

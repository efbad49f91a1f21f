//! What customers are told of: one notice an event of a claim.

use std::fmt;
use std::str::FromStr;

/// An event that a claimant is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// The report came in.
    Received,
    /// The claimant has to answer before anything can be decided.
    InformationWanted,
    /// The answer is still missing.
    Reminder,
    /// Somebody wrote to the claimant.
    Message,
    /// It was decided, or decided anew.
    Decided,
    /// The appeal came in.
    Appealed,
    /// The appeal was decided.
    AppealDecided,
    /// The credit was issued.
    Credited,
    /// The claimant took the report back.
    Withdrawn,
}

impl Event {
    /// Every event, for enumerations.
    pub const ALL: [Self; 9] = [
        Self::Received,
        Self::InformationWanted,
        Self::Reminder,
        Self::Message,
        Self::Decided,
        Self::Appealed,
        Self::AppealDecided,
        Self::Credited,
        Self::Withdrawn,
    ];

    /// The event's name in storage.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::InformationWanted => "information_wanted",
            Self::Reminder => "reminder",
            Self::Message => "message",
            Self::Decided => "decided",
            Self::Appealed => "appealed",
            Self::AppealDecided => "appeal_decided",
            Self::Credited => "credited",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// The event of a name that webhooks are told, such as `claim.decided`.
    #[must_use]
    pub fn of_webhook(name: &str) -> Option<Self> {
        name.strip_prefix("claim.")?.parse().ok()
    }

    /// Whether the claimant loses something by not hearing of it: a decision, a question, a deadline. The rest can be
    /// opted out of.
    #[must_use]
    pub fn is_essential(self) -> bool {
        match self {
            Self::InformationWanted | Self::Reminder | Self::Message | Self::Decided | Self::AppealDecided => true,
            Self::Received | Self::Appealed | Self::Credited | Self::Withdrawn => false,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no event that customers are told of")]
pub struct UnknownEvent(String);

impl FromStr for Event {
    type Err = UnknownEvent;
    fn from_str(text: &str) -> Result<Self, UnknownEvent> {
        Self::ALL
            .into_iter()
            .find(|event| event.as_str() == text)
            .ok_or_else(|| UnknownEvent(text.chars().take(40).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for event in Event::ALL {
            assert_eq!(event.as_str().parse(), Ok(event));
        }
        assert!("lost".parse::<Event>().is_err());
    }
}

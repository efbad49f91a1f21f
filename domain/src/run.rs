//! The life of a run of the batch job: which states there are and which moves between them are legal.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It is above a limit and waits for a second person.
    Planned,
    /// A second person approved it; nothing is issued yet.
    Approved,
    /// Workers issue it, or died over it; the next one goes on.
    Running,
    /// Somebody halted it.
    Paused,
    /// It halted by itself, such as before a budget would go below zero.
    Stopped,
    /// Nothing more will be issued by it; what was issued stands.
    Cancelled,
    /// Every chunk is done.
    Done,
}

/// What can happen to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunMove {
    /// A second person approves its plan.
    Approve,
    /// A worker begins it, joins it, or goes on where another died.
    Begin,
    /// Somebody halts it: every worker ends after the chunk it is at.
    Pause,
    /// Somebody lets it go on.
    Resume,
    /// Somebody ends it.
    Cancel,
    /// It halts by itself.
    Stop,
    /// No chunk is left.
    Finish,
}

impl RunState {
    /// Every state, for enumerations.
    pub const ALL: [Self; 7] =
        [Self::Planned, Self::Approved, Self::Running, Self::Paused, Self::Stopped, Self::Cancelled, Self::Done];

    /// The state's name in storage and in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Approved => "approved",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Cancelled => "cancelled",
            Self::Done => "done",
        }
    }

    /// Whether nothing more can happen to it.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Cancelled | Self::Done)
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is no state of a run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no state of a run")]
pub struct UnknownRunState(String);

impl FromStr for RunState {
    type Err = UnknownRunState;

    fn from_str(text: &str) -> Result<Self, UnknownRunState> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| UnknownRunState(text.to_owned()))
    }
}

impl RunMove {
    /// The states in which it is legal.
    #[must_use]
    pub fn from(self) -> &'static [RunState] {
        use RunState::{Approved, Paused, Planned, Running, Stopped};
        match self {
            Self::Approve => &[Planned],
            Self::Begin => &[Approved, Running, Stopped],
            Self::Pause => &[Running, Stopped],
            Self::Resume => &[Paused, Stopped],
            Self::Cancel => &[Planned, Approved, Running, Paused, Stopped],
            Self::Stop | Self::Finish => &[Running],
        }
    }

    /// The state it leads to.
    #[must_use]
    pub fn to(self) -> RunState {
        match self {
            Self::Approve => RunState::Approved,
            Self::Begin | Self::Resume => RunState::Running,
            Self::Pause => RunState::Paused,
            Self::Cancel => RunState::Cancelled,
            Self::Stop => RunState::Stopped,
            Self::Finish => RunState::Done,
        }
    }

    /// What was done, as a person says it.
    #[must_use]
    pub fn done(self) -> &'static str {
        match self {
            Self::Approve => "approved",
            Self::Begin => "begun",
            Self::Pause => "paused",
            Self::Resume => "resumed",
            Self::Cancel => "cancelled",
            Self::Stop => "stopped",
            Self::Finish => "finished",
        }
    }

    /// Its name in the audit log.
    #[must_use]
    pub fn action(self) -> &'static str {
        match self {
            Self::Approve => "run.approve",
            Self::Begin => "run.begin",
            Self::Pause => "run.pause",
            Self::Resume => "run.resume",
            Self::Cancel => "run.cancel",
            Self::Stop => "run.stop",
            Self::Finish => "run.done",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_final_stays_and_what_waits_for_approval_is_never_begun() {
        let all = [
            RunMove::Approve,
            RunMove::Begin,
            RunMove::Pause,
            RunMove::Resume,
            RunMove::Cancel,
            RunMove::Stop,
            RunMove::Finish,
        ];
        for action in all {
            assert!(action.from().iter().all(|state| !state.is_final()), "{action:?}");
            assert!(action.to() != RunState::Running || !action.from().contains(&RunState::Planned), "{action:?}");
        }
        for state in RunState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
    }
}

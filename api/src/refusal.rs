//! Why a move of a claim is refused: each kind is a code of the API, and a person can do something about each.

use redress_domain::claim::IllegalMove;
use redress_domain::review::AppealRefused;

use crate::error::AppError;

/// Why a command on a claim is refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The claim's state does not allow it.
    #[error("{0}")]
    Illegal(IllegalMove),
    /// It was decided on an older state of the claim than this.
    #[error("the claim has changed since: it is at version {now}; look at it again")]
    Stale {
        /// The version now.
        now: i32,
    },
    /// Somebody else works on it.
    #[error("{by} is working on this claim")]
    Held {
        /// Who.
        by: String,
    },
    /// The appeal is not taken.
    #[error("{0}")]
    Appeal(AppealRefused),
    /// Whoever decided cannot sign, read the appeal or read it a second time.
    #[error("{0}")]
    FourEyes(String),
    /// A field of the request cannot be used.
    #[error("{pointer}: {detail}")]
    Field {
        /// Its JSON pointer.
        pointer: String,
        /// Why.
        detail: String,
    },
    /// Something else stands in the way.
    #[error("{0}")]
    Conflict(String),
    /// What was previewed is not what would be done now.
    #[error("what was previewed is not what would be done now: preview again")]
    PreviewChanged,
}

impl Refusal {
    /// A field that cannot be used.
    pub fn field(pointer: impl Into<String>, detail: impl std::fmt::Display) -> Self {
        Self::Field { pointer: pointer.into(), detail: detail.to_string() }
    }

    /// The stable code of the API.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Illegal(_) => "illegal_move",
            Self::Stale { .. } => "stale",
            Self::Held { .. } => "claim_held",
            Self::Appeal(_) => "appeal_refused",
            Self::FourEyes(_) => "four_eyes",
            Self::Field { .. } => "invalid_request",
            Self::Conflict(_) => "claim_conflict",
            Self::PreviewChanged => "preview_changed",
        }
    }
}

impl From<Refusal> for AppError {
    fn from(refusal: Refusal) -> Self {
        Self::Claim(refusal)
    }
}

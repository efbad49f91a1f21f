//! The life of a claim: which states there are and which moves between them are legal.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a claim stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimState {
    /// Begun, not yet sent.
    Draft,
    /// Sent; the policy has not spoken yet.
    Submitted,
    /// A person has to look.
    InReview,
    /// The claimant has to answer.
    NeedsInformation,
    /// Granted whole; the credit is not issued yet.
    Approved,
    /// Granted in part; the credit is not issued yet.
    PartlyApproved,
    /// Refused, with a reason.
    Declined,
    /// The credit stands in the ledger.
    Issued,
    /// Nothing is left to do.
    Closed,
    /// Taken back by the claimant.
    Withdrawn,
    /// Accepted; waits until its service has a policy.
    PendingPolicy,
}

/// What can happen to a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClaimMove {
    /// The claimant sends it.
    Submit,
    /// No policy is in force: it waits for one.
    AwaitPolicy,
    /// A policy or a person sends it to a reader.
    Review,
    /// A reader asks the claimant.
    RequestInformation,
    /// It is granted whole.
    Approve,
    /// It is granted in part.
    ApprovePartly,
    /// It is refused.
    Decline,
    /// Its credit is issued.
    Issue,
    /// The claimant takes it back.
    Withdraw,
    /// The claimant appeals.
    Appeal,
    /// A reader takes it up again.
    Reopen,
    /// An enquiry is answered: nothing is claimed.
    Answer,
    /// It says what another of the same customer said before, and is handled there.
    Merge,
    /// It is filed away.
    Close,
}

/// A move that the claim's state does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a claim that is {state} cannot {action}")]
pub struct IllegalMove {
    state: ClaimState,
    action: ClaimMove,
}

impl ClaimMove {
    /// Every move, for enumerations.
    pub const ALL: [Self; 14] = [
        Self::Submit,
        Self::AwaitPolicy,
        Self::Review,
        Self::RequestInformation,
        Self::Approve,
        Self::ApprovePartly,
        Self::Decline,
        Self::Issue,
        Self::Withdraw,
        Self::Appeal,
        Self::Reopen,
        Self::Answer,
        Self::Merge,
        Self::Close,
    ];
}

impl ClaimState {
    /// Every state, for enumerations.
    pub const ALL: [Self; 11] = [
        Self::Draft,
        Self::Submitted,
        Self::InReview,
        Self::NeedsInformation,
        Self::Approved,
        Self::PartlyApproved,
        Self::Declined,
        Self::Issued,
        Self::Closed,
        Self::Withdrawn,
        Self::PendingPolicy,
    ];

    /// The state's name in the interface and in storage.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Submitted => "submitted",
            Self::InReview => "in_review",
            Self::NeedsInformation => "needs_information",
            Self::Approved => "approved",
            Self::PartlyApproved => "partly_approved",
            Self::Declined => "declined",
            Self::Issued => "issued",
            Self::Closed => "closed",
            Self::Withdrawn => "withdrawn",
            Self::PendingPolicy => "pending_policy",
        }
    }

    /// The state after a move; the one place that lists the legal ones.
    pub fn after(self, action: ClaimMove) -> Result<Self, IllegalMove> {
        use ClaimMove as M;
        use ClaimState as S;
        Ok(match (self, action) {
            (S::Draft, M::Submit) => S::Submitted,
            (S::Submitted, M::AwaitPolicy) => S::PendingPolicy,
            // A grant goes back to a person when its loss turns out to be paid elsewhere. What was asked and not
            // answered goes back to a reader too: nothing is declined for silence alone.
            (S::Submitted | S::PendingPolicy | S::NeedsInformation | S::Approved | S::PartlyApproved, M::Review)
            // A decline, and what a part left out, can be appealed; the part may have been credited since.
            | (S::Declined | S::PartlyApproved | S::Issued, M::Appeal)
            | (S::Declined | S::Approved | S::PartlyApproved | S::Issued | S::Closed, M::Reopen) => S::InReview,
            (S::InReview, M::RequestInformation) => S::NeedsInformation,
            (S::Submitted | S::InReview | S::PendingPolicy, M::Approve) => S::Approved,
            (S::Submitted | S::InReview | S::PendingPolicy, M::ApprovePartly) => S::PartlyApproved,
            (S::Submitted | S::InReview | S::PendingPolicy, M::Decline) => S::Declined,
            (S::Approved | S::PartlyApproved, M::Issue) => S::Issued,
            (S::Draft | S::Submitted | S::InReview | S::NeedsInformation | S::PendingPolicy, M::Withdraw) => {
                S::Withdrawn
            }
            (S::Submitted | S::InReview | S::NeedsInformation, M::Answer)
            | (S::Submitted | S::InReview | S::NeedsInformation | S::PendingPolicy, M::Merge)
            // What was taken back is over as it is: closed, it would be read for what was granted before.
            | (S::Issued | S::Declined, M::Close) => S::Closed,
            _ => return Err(IllegalMove { state: self, action }),
        })
    }
}

impl ClaimMove {
    /// The states from which this move is legal, for the database update to filter on.
    pub fn legal_from(self) -> impl Iterator<Item = ClaimState> {
        ClaimState::ALL.into_iter().filter(move |state| state.after(self).is_ok())
    }
}

impl fmt::Display for ClaimState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for ClaimMove {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Submit => "be submitted",
            Self::AwaitPolicy => "wait for a policy",
            Self::Review => "be sent to review",
            Self::RequestInformation => "be asked about",
            Self::Approve => "be approved",
            Self::ApprovePartly => "be approved in part",
            Self::Decline => "be declined",
            Self::Issue => "be issued",
            Self::Withdraw => "be withdrawn",
            Self::Appeal => "be appealed",
            Self::Reopen => "be reopened",
            Self::Answer => "be answered and closed",
            Self::Merge => "be merged into another",
            Self::Close => "be closed",
        })
    }
}

/// A text that names no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no state of a claim")]
pub struct UnknownState(String);

impl FromStr for ClaimState {
    type Err = UnknownState;
    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| UnknownState(text.chars().take(40).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_decided_is_not_decided_again_without_being_reopened() {
        for action in [ClaimMove::Approve, ClaimMove::Decline, ClaimMove::Withdraw, ClaimMove::Submit, ClaimMove::Issue]
        {
            for state in [ClaimState::Issued, ClaimState::Closed, ClaimState::Withdrawn, ClaimState::Declined] {
                assert!(state.after(action).is_err(), "{state} {action}");
            }
        }
        assert_eq!(
            ClaimState::Issued.after(ClaimMove::Approve).unwrap_err().to_string(),
            "a claim that is issued cannot be approved"
        );
    }

    #[test]
    fn names_are_read_back() {
        for state in ClaimState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert!("lost".parse::<ClaimState>().is_err());
    }
}

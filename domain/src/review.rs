//! What the moves of people need: a verdict says what it grants and why, a question has a term, an appeal is open once
//! per decline and for a stated time, and is read by somebody else.

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};

use crate::claim::ClaimMove;
use crate::id::ReasonCode;
use crate::policy::Given;

/// For how many days after it a decline can be appealed.
pub const APPEAL_DAYS: i64 = 30;
/// The most reasons of one verdict.
pub const MAX_REASONS: usize = 10;
/// The fewest and the most days that a claimant is given to answer.
pub const ANSWER_DAYS: std::ops::RangeInclusive<i64> = 3..=60;
/// How many days before the end of a term the claimant is reminded, once for each.
pub const REMINDER_DAYS: [i64; 2] = [7, 2];

/// What kind of verdict it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    /// Granted whole.
    Approve,
    /// Granted in part.
    Part,
    /// Refused.
    Decline,
}

impl VerdictKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Approve, Self::Part, Self::Decline];

    /// The kind's name in the interface and in storage.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Part => "part",
            Self::Decline => "decline",
        }
    }

    /// The kind of a name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// What it makes of a claim.
    #[must_use]
    pub fn action(self) -> ClaimMove {
        match self {
            Self::Approve => ClaimMove::Approve,
            Self::Part => ClaimMove::ApprovePartly,
            Self::Decline => ClaimMove::Decline,
        }
    }
}

/// A person's word on a claim. There is none that refuses anything without a reason, and none that grants nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    kind: VerdictKind,
    awards: Vec<Given>,
    reasons: Vec<ReasonCode>,
}

/// Why a verdict cannot be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerdictError {
    /// It grants, but nothing.
    #[error("grants nothing; say what, or decline with a reason")]
    NothingGranted,
    /// It declines and grants.
    #[error("a decline grants nothing")]
    DeclineGrants,
    /// It refuses without saying why.
    #[error("says no reason; the claimant is owed one for what is refused")]
    NoReason,
    /// It approves whole and has reasons.
    #[error("what is approved whole needs no reason; approve in part to refuse the rest")]
    NeedlessReason,
    /// It has more reasons than anybody reads.
    #[error("has more than {MAX_REASONS} reasons")]
    TooManyReasons,
    /// It grants one asset twice.
    #[error("names an asset twice")]
    AssetTwice,
}

impl VerdictError {
    /// The field of the request that is wrong.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::NothingGranted | Self::DeclineGrants | Self::AssetTwice => "/awards",
            Self::NoReason | Self::NeedlessReason | Self::TooManyReasons => "/reasons",
        }
    }
}

impl Verdict {
    /// Checks that a verdict says all that its kind needs.
    pub fn new(kind: VerdictKind, awards: Vec<Given>, reasons: Vec<ReasonCode>) -> Result<Self, VerdictError> {
        let grants = kind != VerdictKind::Decline;
        let refuses = kind != VerdictKind::Approve;
        let twice = |place: usize, award: &Given| awards[..place].iter().any(|earlier| earlier.asset == award.asset);
        match (awards.is_empty(), reasons.is_empty()) {
            (true, _) if grants => Err(VerdictError::NothingGranted),
            (false, _) if !grants => Err(VerdictError::DeclineGrants),
            (_, true) if refuses => Err(VerdictError::NoReason),
            (_, false) if !refuses => Err(VerdictError::NeedlessReason),
            _ if reasons.len() > MAX_REASONS => Err(VerdictError::TooManyReasons),
            _ if awards.iter().enumerate().any(|(place, award)| twice(place, award)) => Err(VerdictError::AssetTwice),
            _ => Ok(Self { kind, awards, reasons }),
        }
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> VerdictKind {
        self.kind
    }

    /// What it grants.
    #[must_use]
    pub fn awards(&self) -> &[Given] {
        &self.awards
    }

    /// Why it refuses what it refuses.
    #[must_use]
    pub fn reasons(&self) -> &[ReasonCode] {
        &self.reasons
    }
}

/// The last word that was said of a claim: by its policy, or by people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    /// 0 for the policy's, then counted.
    pub number: i32,
    /// What kind.
    pub kind: VerdictKind,
    /// Whether it can be appealed at all.
    pub appealable: bool,
    /// When it took effect.
    pub at: DateTime<Utc>,
    /// The people who gave it: none for a policy, two where it took a second signature.
    pub by: Vec<String>,
}

/// Why an appeal is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppealRefused {
    /// Nothing was refused.
    #[error("nothing was refused that could be appealed")]
    NothingRefused,
    /// The time is over.
    #[error("the time for an appeal ended on {0}")]
    TooLate(DateTime<Utc>),
    /// This very decision was appealed before.
    #[error("this decision was appealed before")]
    Twice,
}

/// An appeal that may be taken; only [`Ruling::appeal`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appeal {
    /// The number of the ruling it is against.
    against: i32,
    /// Who must not read it.
    decided_by: Vec<String>,
}

impl Ruling {
    /// Until when it can be appealed; none where nothing was refused.
    #[must_use]
    pub fn appeal_until(&self) -> Option<DateTime<Utc>> {
        let refuses = self.kind != VerdictKind::Approve;
        (refuses && self.appealable).then(|| self.at + Duration::days(APPEAL_DAYS))
    }

    /// An appeal against it at an instant; `appealed` are the numbers of the rulings that were appealed before.
    pub fn appeal(&self, at: DateTime<Utc>, appealed: &[i32]) -> Result<Appeal, AppealRefused> {
        let until = self.appeal_until().ok_or(AppealRefused::NothingRefused)?;
        if appealed.contains(&self.number) {
            return Err(AppealRefused::Twice);
        }
        if at > until {
            return Err(AppealRefused::TooLate(until));
        }
        Ok(Appeal { against: self.number, decided_by: self.by.clone() })
    }
}

impl Appeal {
    /// The number of the ruling it is against.
    #[must_use]
    pub fn against(&self) -> i32 {
        self.against
    }

    /// Who gave that ruling, and must not read the appeal.
    #[must_use]
    pub fn decided_by(&self) -> &[String] {
        &self.decided_by
    }
}

/// When a claimant who was asked is reminded next: `reminded` times so far, the answer due at `due`.
#[must_use]
pub fn next_reminder(due: DateTime<Utc>, reminded: usize) -> Option<DateTime<Utc>> {
    REMINDER_DAYS.get(reminded).map(|days| due - Duration::days(*days))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asset::{Amount, AssetCode};

    fn won(amount: i64) -> Vec<Given> {
        vec![Given { asset: AssetCode::parse("KRW").unwrap(), amount: Amount::from_minor(amount) }]
    }

    fn reason() -> Vec<ReasonCode> {
        vec![ReasonCode::parse("not-covered").unwrap()]
    }

    #[test]
    fn a_verdict_says_all_that_its_kind_needs() {
        let new = Verdict::new;
        assert!(new(VerdictKind::Approve, won(1), vec![]).is_ok());
        assert!(new(VerdictKind::Part, won(1), reason()).is_ok());
        assert!(new(VerdictKind::Decline, vec![], reason()).is_ok());
        assert_eq!(new(VerdictKind::Approve, vec![], vec![]), Err(VerdictError::NothingGranted));
        assert_eq!(new(VerdictKind::Part, vec![], reason()), Err(VerdictError::NothingGranted));
        assert_eq!(new(VerdictKind::Part, won(1), vec![]), Err(VerdictError::NoReason));
        assert_eq!(new(VerdictKind::Decline, vec![], vec![]), Err(VerdictError::NoReason));
        assert_eq!(new(VerdictKind::Decline, won(1), reason()), Err(VerdictError::DeclineGrants));
        assert_eq!(new(VerdictKind::Approve, won(1), reason()), Err(VerdictError::NeedlessReason));
        assert_eq!(new(VerdictKind::Approve, [won(1), won(2)].concat(), vec![]), Err(VerdictError::AssetTwice));
    }

    #[test]
    fn a_decline_is_appealed_once_and_in_time() {
        let at = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let ruling = |kind| Ruling { number: 2, kind, appealable: true, at, by: vec!["reader".into()] };
        let decline = ruling(VerdictKind::Decline);
        let end = at + Duration::days(APPEAL_DAYS);
        let appeal = decline.appeal(end, &[0, 1]).unwrap();
        assert_eq!((appeal.against(), appeal.decided_by()), (2, &["reader".to_owned()][..]));
        assert_eq!(decline.appeal(end + Duration::seconds(1), &[]), Err(AppealRefused::TooLate(end)));
        assert_eq!(decline.appeal(at, &[2]), Err(AppealRefused::Twice));
        assert!(ruling(VerdictKind::Part).appeal(at, &[]).is_ok());
        assert_eq!(ruling(VerdictKind::Approve).appeal(at, &[]), Err(AppealRefused::NothingRefused));
        let settled = Ruling { appealable: false, ..decline };
        assert_eq!(settled.appeal(at, &[]), Err(AppealRefused::NothingRefused));
    }

    #[test]
    fn reminders_end_before_the_term_does() {
        let due = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        assert_eq!(next_reminder(due, 0), Some(due - Duration::days(7)));
        assert_eq!(next_reminder(due, 1), Some(due - Duration::days(2)));
        assert_eq!(next_reminder(due, 2), None);
    }
}

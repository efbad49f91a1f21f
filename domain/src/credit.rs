//! The life of one credit after it was issued: what is owed is delivered, expires or is written off, and a mistake is
//! moved back by a reversal. Pure: what may move is decided here; the store records it, and the database refuses
//! whatever this should overlook.
//!
//! The rules in short. A movement takes from what is still owed, never more. Each is numbered by its attempt, so that a
//! retry of the same attempt is the same transfer. A reversal names one original, moves it back whole or in part, and
//! each original is reversed at most once; a reversal itself is final. What was delivered cannot be taken from the
//! budget's side: its delivery is reversed first (the service took the grant back), then the credit.

use chrono::{Days, NaiveDate};
use sha2::{Digest, Sha256};

use crate::asset::Amount;
use crate::id::TransferId;
use crate::ledger::{TransferCode, derived};

/// The most deliveries, expiries or write-offs of one credit: parts, and new tries after a reversal.
pub const MAX_ATTEMPTS: u16 = 100;
/// How far a calendar date may differ from the same instant's date in UTC: zones lie up to a day apart.
const ZONE_DAYS: Days = Days::new(1);

/// How an amount leaves what is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// The service granted it: owed to delivered.
    Deliver,
    /// Its term ran out unused: owed to breakage.
    Expire,
    /// It cannot be delivered: owed to suspense, where a person sees it.
    WriteOff,
}

impl Flow {
    /// The code of its transfer.
    #[must_use]
    pub fn code(self) -> TransferCode {
        match self {
            Self::Deliver => TransferCode::Deliver,
            Self::Expire => TransferCode::Expire,
            Self::WriteOff => TransferCode::WriteOff,
        }
    }
}

/// One movement of a credit, in minor units of its asset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    /// Counts the movements of the credit, from 1.
    pub seq: u32,
    /// The transfer that records it.
    pub transfer: TransferId,
    /// What it does.
    pub code: TransferCode,
    /// What it reverses; reversals only.
    pub original: Option<TransferId>,
    /// How much; more than none.
    pub amount: Amount,
    /// What was owed before.
    pub owed_before: Amount,
    /// What is owed after it.
    pub owed_after: Amount,
    /// The calendar date from which it counts for people; balances go by the instant of recording instead.
    pub effective_on: NaiveDate,
}

/// What came of a movement asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It is to be recorded.
    New(Movement),
    /// This very attempt was recorded before: nothing moves.
    Already(TransferId),
}

/// Why a movement of a credit is refused. Amounts are minor units.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such credit.
    #[error("there is no such credit")]
    Unknown,
    /// The amount is none or less.
    #[error("the amount must be more than 0")]
    NotPositive,
    /// The amount has more digits than the asset, or is beyond what can be held.
    #[error("the amount cannot be taken exactly: {0}")]
    NotExact(String),
    /// Nothing is owed any more.
    #[error("nothing of it is owed any more")]
    NothingOwed,
    /// The service was told to grant it and has not answered.
    #[error(
        "its service was told to grant it and has not answered yet: wait for the answer, and reverse the delivery first if \
         it was granted"
    )]
    InDelivery,
    /// More than is owed.
    #[error("that is more than the {owed} minor units that are still owed")]
    MoreThanOwed {
        /// What is still owed.
        owed: i64,
    },
    /// The attempt was recorded with another amount.
    #[error("this attempt was recorded before with another amount ({recorded} minor units)")]
    RecordedOtherwise {
        /// What was recorded.
        recorded: i64,
    },
    /// The number of the attempt is not between 1 and [`MAX_ATTEMPTS`].
    #[error("an attempt is numbered from 1 to {MAX_ATTEMPTS}")]
    Attempt,
    /// The original was reversed before.
    #[error("it was reversed before; nothing was moved")]
    ReversedAlready,
    /// More than the original moved.
    #[error("that is more than the {original} minor units that the original moved")]
    MoreThanOriginal {
        /// What the original moved.
        original: i64,
    },
    /// The original is a reversal.
    #[error("a reversal is final: what was reversed in error is granted anew by a decision or a policy")]
    ReversalIsFinal,
    /// The date lies in the future.
    #[error("the date lies in the future")]
    FutureDate,
    /// The date lies before what it follows from.
    #[error("the date lies before {0}, when the original took effect")]
    TooEarly(NaiveDate),
}

impl Refusal {
    /// A stable code for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown => "credit_unknown",
            Self::NotPositive => "amount_not_positive",
            Self::NotExact(_) => "amount_not_exact",
            Self::NothingOwed => "credit_nothing_owed",
            Self::InDelivery => "credit_in_delivery",
            Self::MoreThanOwed { .. } => "credit_more_than_owed",
            Self::RecordedOtherwise { .. } => "credit_recorded_otherwise",
            Self::Attempt => "credit_attempt_invalid",
            Self::ReversedAlready => "transfer_reversed_already",
            Self::MoreThanOriginal { .. } => "reversal_more_than_original",
            Self::ReversalIsFinal => "reversal_is_final",
            Self::FutureDate => "date_in_future",
            Self::TooEarly(_) => "date_before_original",
        }
    }
}

/// A credit and all that happened to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credit {
    id: TransferId,
    issued: Amount,
    issued_on: NaiveDate,
    movements: Vec<Movement>,
}

/// The number of the next delivery of a credit that was delivered by these transfers; none when it was delivered too often.
#[must_use]
pub fn next_delivery(credit: TransferId, delivered: &[TransferId]) -> Option<u16> {
    (1..=MAX_ATTEMPTS).find(|attempt| !delivered.contains(&movement_id(credit, Flow::Deliver, *attempt)))
}

impl Credit {
    /// A credit of so many minor units, with its movements in the order of their numbers. `issued_on` is the date in
    /// UTC on which it was recorded.
    #[must_use]
    pub fn new(id: TransferId, issued: Amount, issued_on: NaiveDate, movements: Vec<Movement>) -> Self {
        Self { id, issued, issued_on, movements }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> TransferId {
        self.id
    }

    /// What is still owed, in minor units.
    #[must_use]
    pub fn owed(&self) -> Amount {
        self.movements.last().map_or(self.issued, |last| last.owed_after)
    }

    /// What was issued, in minor units.
    #[must_use]
    pub fn issued(&self) -> Amount {
        self.issued
    }

    /// All movements so far.
    #[must_use]
    pub fn movements(&self) -> &[Movement] {
        &self.movements
    }

    /// Takes an amount, or all that is owed, from what is owed. The same attempt a second time moves nothing.
    pub fn leave(
        &mut self,
        flow: Flow,
        attempt: u16,
        amount: Option<Amount>,
        on: NaiveDate,
        today: NaiveDate,
    ) -> Result<Step, Refusal> {
        if !(1..=MAX_ATTEMPTS).contains(&attempt) {
            return Err(Refusal::Attempt);
        }
        let transfer = movement_id(self.id, flow, attempt);
        if let Some(known) = self.movements.iter().find(|movement| movement.transfer == transfer) {
            return match amount {
                Some(amount) if amount != known.amount => {
                    Err(Refusal::RecordedOtherwise { recorded: known.amount.minor() })
                }
                _ => Ok(Step::Already(transfer)),
            };
        }
        check_date(on, self.issued_on, today)?;
        let owed = self.owed();
        let amount = amount.unwrap_or(owed);
        let after = self.less(amount)?;
        Ok(Step::New(self.push(transfer, flow.code(), None, amount, after, on)))
    }

    /// Moves an original back: this credit itself, or one of its movements; whole, or a part.
    pub fn reverse(
        &mut self,
        original: TransferId,
        amount: Option<Amount>,
        on: NaiveDate,
        today: NaiveDate,
    ) -> Result<Movement, Refusal> {
        let (moved, took_effect, returns) = if original == self.id {
            (self.issued, self.issued_on, false)
        } else {
            let known = self.movements.iter().find(|movement| movement.transfer == original).ok_or(Refusal::Unknown)?;
            if known.code == TransferCode::Reverse {
                return Err(Refusal::ReversalIsFinal);
            }
            (known.amount, known.effective_on, true)
        };
        if self.movements.iter().any(|movement| movement.original == Some(original)) {
            return Err(Refusal::ReversedAlready);
        }
        let amount = amount.unwrap_or(moved);
        if amount > moved {
            return Err(Refusal::MoreThanOriginal { original: moved.minor() });
        }
        check_date(on, took_effect, today)?;
        let after = if returns {
            if amount <= Amount::ZERO {
                return Err(Refusal::NotPositive);
            }
            // What was taken from the credit fits back into it.
            let after = self.owed().checked_add(amount).filter(|after| *after <= self.issued);
            after.ok_or(Refusal::MoreThanOriginal { original: moved.minor() })?
        } else {
            self.less(amount)?
        };
        Ok(self.push(reversal_id(original), TransferCode::Reverse, Some(original), amount, after, on))
    }

    /// What is owed less an amount.
    fn less(&self, amount: Amount) -> Result<Amount, Refusal> {
        let owed = self.owed();
        if owed == Amount::ZERO {
            return Err(Refusal::NothingOwed);
        }
        if amount <= Amount::ZERO {
            return Err(Refusal::NotPositive);
        }
        let after = owed.checked_sub(amount).filter(|after| *after >= Amount::ZERO);
        after.ok_or(Refusal::MoreThanOwed { owed: owed.minor() })
    }

    fn push(
        &mut self,
        transfer: TransferId,
        code: TransferCode,
        original: Option<TransferId>,
        amount: Amount,
        owed_after: Amount,
        effective_on: NaiveDate,
    ) -> Movement {
        let seq = self.movements.last().map_or(1, |last| last.seq + 1);
        let owed_before = self.owed();
        let movement = Movement { seq, transfer, code, original, amount, owed_before, owed_after, effective_on };
        self.movements.push(movement.clone());
        movement
    }
}

/// A date is neither in the future nor before what it follows from, in whatever zone the operator counts days.
fn check_date(on: NaiveDate, not_before: NaiveDate, today: NaiveDate) -> Result<(), Refusal> {
    if today.checked_add_days(ZONE_DAYS).is_some_and(|latest| on > latest) {
        return Err(Refusal::FutureDate);
    }
    match not_before.checked_sub_days(ZONE_DAYS) {
        Some(earliest) if on < earliest => Err(Refusal::TooEarly(not_before)),
        _ => Ok(()),
    }
}

/// The id of one attempt at a movement of a credit: every retry of the attempt meets it.
#[must_use]
pub fn movement_id(credit: TransferId, flow: Flow, attempt: u16) -> TransferId {
    let mut hash = Sha256::new();
    hash.update(b"redress movement 1");
    hash.update(flow.code().number().to_be_bytes());
    hash.update(credit.0.as_bytes());
    hash.update(attempt.to_be_bytes());
    derived(hash)
}

/// The id of the reversal of a transfer: an original has one, so it can be reversed at most once.
#[must_use]
pub fn reversal_id(original: TransferId) -> TransferId {
    let mut hash = Sha256::new();
    hash.update(b"redress reversal 1");
    hash.update(original.0.as_bytes());
    derived(hash)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TODAY: NaiveDate = NaiveDate::from_ymd_opt(2022, 10, 20).unwrap();

    fn id(byte: u8) -> TransferId {
        TransferId(uuid::Uuid::from_bytes([byte; 16]))
    }

    fn credit(issued: i64) -> Credit {
        Credit::new(id(1), Amount::from_minor(issued), TODAY, Vec::new())
    }

    fn minor(units: i64) -> Option<Amount> {
        Some(Amount::from_minor(units))
    }

    fn moved(step: Result<Step, Refusal>) -> Movement {
        match step {
            Ok(Step::New(movement)) => movement,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_second_delivery_is_the_first_and_another_amount_is_refused() {
        let mut credit = credit(3);
        let first = moved(credit.leave(Flow::Deliver, 1, None, TODAY, TODAY));
        assert_eq!((first.amount.minor(), first.owed_after.minor()), (3, 0));
        assert_eq!(credit.leave(Flow::Deliver, 1, None, TODAY, TODAY), Ok(Step::Already(first.transfer)));
        assert_eq!(credit.leave(Flow::Deliver, 1, minor(3), TODAY, TODAY), Ok(Step::Already(first.transfer)));
        let other = credit.leave(Flow::Deliver, 1, minor(2), TODAY, TODAY);
        assert_eq!(other, Err(Refusal::RecordedOtherwise { recorded: 3 }));
        assert_eq!(credit.leave(Flow::Deliver, 2, None, TODAY, TODAY), Err(Refusal::NothingOwed));
        assert_eq!(credit.movements().len(), 1);
    }

    #[test]
    fn what_was_delivered_comes_back_by_reversing_the_delivery_first() {
        let mut credit = credit(5);
        let delivered = moved(credit.leave(Flow::Deliver, 1, minor(4), TODAY, TODAY));
        assert_eq!(credit.reverse(id(1), None, TODAY, TODAY), Err(Refusal::MoreThanOwed { owed: 1 }));
        assert_eq!(credit.reverse(delivered.transfer, None, TODAY, TODAY).map(|m| m.owed_after.minor()), Ok(5));
        assert_eq!(credit.reverse(id(1), minor(5), TODAY, TODAY).map(|m| m.owed_after.minor()), Ok(0));
        for original in [id(1), delivered.transfer] {
            assert_eq!(credit.reverse(original, minor(1), TODAY, TODAY), Err(Refusal::ReversedAlready));
            assert_eq!(credit.reverse(reversal_id(original), None, TODAY, TODAY), Err(Refusal::ReversalIsFinal));
        }
        assert_eq!(credit.reverse(id(9), None, TODAY, TODAY), Err(Refusal::Unknown));
        // A late retry of the delivery that was taken back delivers nothing.
        let retry = credit.leave(Flow::Deliver, 1, None, TODAY, TODAY);
        assert_eq!(retry, Ok(Step::Already(delivered.transfer)));
    }

    #[test]
    fn dates_are_bounded_on_both_sides() {
        let day = |n| NaiveDate::from_ymd_opt(2022, 10, n).unwrap();
        let mut credit = credit(5);
        assert_eq!(credit.reverse(id(1), None, day(22), TODAY), Err(Refusal::FutureDate));
        assert_eq!(credit.reverse(id(1), None, day(18), TODAY), Err(Refusal::TooEarly(TODAY)));
        assert!(credit.reverse(id(1), None, day(21), TODAY).is_ok(), "tomorrow in UTC is today in Seoul");
    }

    #[test]
    fn amounts_and_attempts_are_bounded() {
        let mut credit = credit(5);
        for wrong in [0, -1, i64::MIN] {
            assert_eq!(credit.leave(Flow::Expire, 1, minor(wrong), TODAY, TODAY), Err(Refusal::NotPositive));
            assert_eq!(credit.reverse(id(1), minor(wrong), TODAY, TODAY), Err(Refusal::NotPositive));
        }
        assert_eq!(credit.leave(Flow::Expire, 1, minor(6), TODAY, TODAY), Err(Refusal::MoreThanOwed { owed: 5 }));
        assert_eq!(credit.reverse(id(1), minor(6), TODAY, TODAY), Err(Refusal::MoreThanOriginal { original: 5 }));
        for attempt in [0, 101, u16::MAX] {
            assert_eq!(credit.leave(Flow::Deliver, attempt, None, TODAY, TODAY), Err(Refusal::Attempt));
        }
    }

    proptest! {
        /// Whatever is asked for in whatever order, nothing is over-delivered and the chain has no gap.
        #[test]
        fn what_is_owed_stays_between_nothing_and_all(
            issued in 1_i64..50,
            asks in prop::collection::vec((0_u8..4, 1_u16..5, prop::option::of(-1_i64..60), 0_usize..8), 0..40),
        ) {
            let mut credit = credit(issued);
            for (what, attempt, amount, which) in asks {
                let amount = amount.map(Amount::from_minor);
                let before = credit.clone();
                let refused = match what {
                    0 => credit.leave(Flow::Deliver, attempt, amount, TODAY, TODAY).is_err(),
                    1 => credit.leave(Flow::Expire, attempt, amount, TODAY, TODAY).is_err(),
                    2 => credit.leave(Flow::WriteOff, attempt, amount, TODAY, TODAY).is_err(),
                    _ => {
                        let original = credit.movements().get(which).map_or(id(1), |movement| movement.transfer);
                        credit.reverse(original, amount, TODAY, TODAY).is_err()
                    }
                };
                prop_assert!(!refused || credit == before, "a refusal changed the credit");
            }
            let mut owed = issued;
            for (place, movement) in credit.movements().iter().enumerate() {
                prop_assert_eq!(movement.seq as usize, place + 1);
                prop_assert_eq!(movement.owed_before.minor(), owed);
                owed = movement.owed_after.minor();
                prop_assert!((0..=issued).contains(&owed) && movement.amount > Amount::ZERO);
                prop_assert_eq!((movement.owed_before.minor() - owed).abs(), movement.amount.minor());
            }
            let mut originals: Vec<_> = credit.movements().iter().filter_map(|movement| movement.original).collect();
            let reversals = originals.len();
            originals.sort();
            originals.dedup();
            prop_assert_eq!(originals.len(), reversals);
        }
    }
}

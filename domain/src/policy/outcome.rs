//! What an assessment says, without a copy of anything: it borrows names and assets from the policy.

use super::diagnostic::suggestion;
use super::limits::MAX_AWARDS;
use super::rules::{Reason, Rule};
use crate::asset::{Amount, Asset};

/// What a policy says of a subject.
#[derive(Debug, Clone, Copy)]
pub enum Outcome<'p> {
    /// Something is owed. Never empty.
    Award {
        /// What.
        awards: Awards<'p>,
        /// The rule that decided.
        rule: RuleName<'p>,
    },
    /// Nothing is owed.
    Decline {
        /// Why not.
        reason: &'p Reason,
        /// The rule that decided.
        rule: RuleName<'p>,
    },
    /// A person decides.
    Review {
        /// The queue.
        queue: &'p str,
        /// The rule that decided.
        rule: RuleName<'p>,
        /// The documents still wanted, by their codes.
        evidence: Evidence<'p>,
    },
    /// It waits for a policy that decides.
    Pending {
        /// The rule, unless the whole policy is undecided.
        rule: Option<RuleName<'p>>,
    },
}

impl<'p> Outcome<'p> {
    /// `award`, `decline`, `review` or `pending`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Award { .. } => "award",
            Self::Decline { .. } => "decline",
            Self::Review { .. } => "review",
            Self::Pending { .. } => "pending",
        }
    }

    /// The rule that decided.
    #[must_use]
    pub fn rule(&self) -> Option<RuleName<'p>> {
        match self {
            Self::Award { rule, .. } | Self::Decline { rule, .. } | Self::Review { rule, .. } => Some(*rule),
            Self::Pending { rule } => *rule,
        }
    }

    /// What is owed; empty unless it is an award.
    #[must_use]
    pub fn awards(&self) -> Awards<'p> {
        match self {
            Self::Award { awards, .. } => *awards,
            _ => Awards::none(),
        }
    }
}

/// A rule by its place and its name.
#[derive(Debug, Clone, Copy)]
pub struct RuleName<'p> {
    pub(crate) rule: &'p Rule,
    pub(crate) place: usize,
}

impl<'p> RuleName<'p> {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &'p str {
        &self.rule.name
    }

    /// The place among the policy's rules, from 0.
    #[must_use]
    pub fn place(&self) -> usize {
        self.place
    }
}

/// One award: so much of an asset.
#[derive(Debug, Clone, Copy)]
pub struct Award<'p> {
    /// The asset.
    pub asset: &'p Asset,
    /// The asset's place in [`super::Policy::assets`].
    pub place: usize,
    /// How much, in minor units; above zero.
    pub amount: Amount,
}

/// Up to eight awards in place, so that no assessment allocates for them.
#[derive(Debug, Clone, Copy)]
pub struct Awards<'p> {
    assets: &'p [Asset],
    places: [u8; MAX_AWARDS],
    amounts: [Amount; MAX_AWARDS],
    length: u8,
}

impl<'p> Awards<'p> {
    pub(crate) fn none() -> Self {
        Self::of(&[])
    }

    #[inline]
    pub(crate) fn of(assets: &'p [Asset]) -> Self {
        Self { assets, places: [0; MAX_AWARDS], amounts: [Amount::ZERO; MAX_AWARDS], length: 0 }
    }

    fn find(&self, asset: u16) -> Option<usize> {
        self.places.iter().take(usize::from(self.length)).position(|known| u16::from(*known) == asset)
    }

    /// Adds to what is already awarded of the asset; nothing when the sum is beyond what storage holds.
    #[inline]
    pub(crate) fn add(&mut self, asset: u16, amount: Amount) -> Option<()> {
        if let Some(at) = self.find(asset) {
            self.amounts[at] = self.amounts[at].checked_add(amount)?;
            return Some(());
        }
        let at = usize::from(self.length);
        // There are at most 64 assets.
        *self.places.get_mut(at)? = u8::try_from(asset).ok()?;
        *self.amounts.get_mut(at)? = amount;
        self.length += 1;
        Some(())
    }

    pub(crate) fn amount_mut(&mut self, asset: u16) -> Option<&mut Amount> {
        let at = self.find(asset)?;
        self.amounts.get_mut(at)
    }

    /// Drops what became zero.
    #[inline]
    pub(crate) fn drop_zeros(&mut self) {
        let mut kept = 0;
        for at in 0..usize::from(self.length) {
            if self.amounts[at] != Amount::ZERO {
                self.places[kept] = self.places[at];
                self.amounts[kept] = self.amounts[at];
                kept += 1;
            }
        }
        self.length = u8::try_from(kept).unwrap_or(0);
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.length)
    }

    /// The awards in the order of the rule.
    pub fn iter(&self) -> impl Iterator<Item = Award<'p>> + use<'p, '_> {
        let both = self.places.iter().zip(&self.amounts).take(usize::from(self.length));
        both.filter_map(|(place, amount)| {
            let place = usize::from(*place);
            Some(Award { asset: self.assets.get(place)?, place, amount: *amount })
        })
    }
}

/// The documents of a rule that are wanted and not there.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'p> {
    pub(crate) known: &'p [super::rules::Document],
    pub(crate) listed: &'p [u16],
    /// One bit for each that is listed.
    pub(crate) wanted: u64,
}

impl<'p> Evidence<'p> {
    pub(crate) fn none() -> Self {
        Self { known: &[], listed: &[], wanted: 0 }
    }

    /// Their codes.
    pub fn iter(&self) -> impl Iterator<Item = &'p str> + use<'p> {
        let (known, wanted) = (self.known, self.wanted);
        let listed = self.listed.iter().enumerate();
        listed
            .filter(move |(bit, _)| wanted >> bit & 1 == 1)
            .filter_map(move |(_, at)| Some(&*known.get(usize::from(*at))?.code))
    }

    /// Whether none is wanted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wanted == 0
    }
}

/// Why a subject cannot be assessed: a fact that is missing or wrong, or a calculation without a result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.message)]
pub struct AssessError(pub(crate) Box<AssessProblem>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AssessProblem {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) remedy: String,
    pub(crate) fact: Option<String>,
    pub(crate) place: Option<(usize, usize)>,
}

impl AssessError {
    pub(crate) fn new(code: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self(Box::new(AssessProblem { code, message: message.into(), remedy: remedy.into(), fact: None, place: None }))
    }

    pub(crate) fn at(mut self, place: (usize, usize)) -> Self {
        self.0.place = Some(place);
        self
    }

    #[cold]
    pub(crate) fn missing_fact(name: &str) -> Self {
        let remedy = format!("state `{name}`, or give it a `default` in the policy's [facts]");
        let mut error = Self::new("missing-fact", format!("the fact `{name}` is missing"), remedy);
        error.0.fact = Some(name.to_owned());
        error
    }

    /// Names the given fact that a missing one may have been mistyped as.
    pub(crate) fn among(mut self, facts: &super::facts::Facts) -> Self {
        if self.0.code == "missing-fact"
            && let Some(name) = &self.0.fact
            && let Some(near) = suggestion(name, facts.iter().map(|(name, _)| name))
        {
            self.0.remedy = format!("`{near}` is given: is that a typing mistake?");
        }
        self
    }

    #[cold]
    pub(crate) fn mistyped_fact(name: &str, wanted: &str, found: &str) -> Self {
        let message = format!("the fact `{name}` must be {wanted}, but it is {found}");
        let mut error = Self::new(
            "mistyped-fact",
            message,
            format!("correct `{name}`, or its declaration in the policy's [facts]"),
        );
        error.0.fact = Some(name.to_owned());
        error
    }

    /// The stable name of the message, listed in `docs/POLICIES.md`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// What is wrong.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &str {
        &self.0.remedy
    }

    /// The fact it is about.
    #[must_use]
    pub fn fact(&self) -> Option<&str> {
        self.0.fact.as_deref()
    }

    /// Line and column of the policy where it arose.
    #[must_use]
    pub fn place(&self) -> Option<(usize, usize)> {
        self.0.place
    }
}

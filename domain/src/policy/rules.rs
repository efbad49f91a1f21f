//! The parts of a policy beside its expressions: rules, reasons, documents, caps, stacking, assets' terms.

use serde::{Deserialize, Serialize};

use super::diagnostic::Span;
use super::ir::NodeId;
use crate::asset::{Amount, AssetCode};
use crate::incident::Localised;

/// Where a policy's subjects come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// From the roster; nobody has to claim.
    Automatic,
    /// By claim.
    Claim,
    /// Owed, but only to those who ask.
    OnRequest,
    /// Claims are accepted and wait.
    Undecided,
}

impl Basis {
    /// All of them by the names they have in a policy.
    pub const ALL: [(&'static str, Self); 4] = [
        ("automatic", Self::Automatic),
        ("claim", Self::Claim),
        ("on_request", Self::OnRequest),
        ("undecided", Self::Undecided),
    ];

    /// The basis of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, basis)| *basis)
    }

    /// The name as it stands in a policy.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, basis)| *basis == self).map_or("claim", |(name, _)| name)
    }
}

/// A rule: a condition and what follows from it.
#[derive(Debug, Clone)]
pub struct Rule {
    pub(crate) name: Box<str>,
    /// Nothing: `otherwise`.
    pub(crate) when: Option<NodeId>,
    pub(crate) action: Action,
    pub(crate) evidence: Vec<u16>,
    pub(crate) evidence_queue: Box<str>,
    pub(crate) reference: Option<String>,
    pub(crate) title: Option<Localised>,
    pub(crate) span: Span,
}

impl Rule {
    /// The name, or `rule-N` by its place.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the rule was announced, when it says so itself.
    #[must_use]
    pub fn reference(&self) -> Option<&str> {
        self.reference.as_deref()
    }

    /// The title, for explanations.
    #[must_use]
    pub fn title(&self) -> Option<&Localised> {
        self.title.as_ref()
    }

    /// `award`, `decline`, `review` or `pending`.
    #[must_use]
    pub fn action(&self) -> &'static str {
        match self.action {
            Action::Award(_) => "award",
            Action::Decline(_) => "decline",
            Action::Review(_) => "review",
            Action::Pending => "pending",
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Action {
    Award(Vec<AwardItem>),
    Decline(u16),
    Review(Box<str>),
    Pending,
}

#[derive(Debug, Clone)]
pub(crate) struct AwardItem {
    pub(crate) asset: u16,
    pub(crate) amount: NodeId,
    /// The amount, when it is written.
    pub(crate) fixed: Option<Amount>,
    pub(crate) when: Option<NodeId>,
    pub(crate) reference: Option<String>,
}

/// Why nothing is owed, in words for a claimant.
#[derive(Debug, Clone)]
pub struct Reason {
    pub(crate) code: Box<str>,
    pub(crate) wording: Localised,
    pub(crate) appealable: bool,
    pub(crate) reference: Option<String>,
    pub(crate) span: Span,
}

impl Reason {
    /// The code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The wording, Korean and English.
    #[must_use]
    pub fn wording(&self) -> &Localised {
        &self.wording
    }

    /// Whether it can be appealed.
    #[must_use]
    pub fn appealable(&self) -> bool {
        self.appealable
    }

    /// Where the reason is stated.
    #[must_use]
    pub fn reference(&self) -> Option<&str> {
        self.reference.as_deref()
    }
}

/// A document that can be asked for.
#[derive(Debug, Clone)]
pub struct Document {
    pub(crate) code: Box<str>,
    pub(crate) title: Option<Localised>,
    /// The condition under which it is asked for; nothing: always.
    pub(crate) when: Option<NodeId>,
    pub(crate) threshold: Option<super::number::Number>,
    pub(crate) threshold_asset: Option<u16>,
    pub(crate) span: Span,
}

impl Document {
    /// The code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The title, Korean and English.
    #[must_use]
    pub fn title(&self) -> Option<&Localised> {
        self.title.as_ref()
    }
}

/// Over what a cap counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CapScope {
    /// Each subject alone; part of its assessment.
    Subject,
    /// All subjects of a customer under the policy.
    Customer,
    /// All subjects of a customer under the policy within one calendar period.
    Period,
    /// Everybody under the policy.
    Programme,
}

/// A calendar period of a cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CapPeriod {
    /// A day.
    Day,
    /// A month.
    Month,
    /// A quarter of a year.
    Quarter,
    /// A year.
    Year,
}

/// A cap over single subjects: expressions.
#[derive(Debug, Clone)]
pub(crate) struct SubjectCap {
    pub(crate) name: Box<str>,
    pub(crate) asset: u16,
    pub(crate) at_most: Option<NodeId>,
    pub(crate) at_least: Option<NodeId>,
    pub(crate) nothing_below: Option<NodeId>,
    pub(crate) reference: Option<String>,
}

/// A cap over a customer, a period or the programme: plain amounts.
#[derive(Debug, Clone)]
pub struct Cap {
    pub(crate) name: Box<str>,
    pub(crate) scope: CapScope,
    pub(crate) period: CapPeriod,
    pub(crate) asset: u16,
    pub(crate) at_most: Option<Amount>,
    pub(crate) at_least: Option<Amount>,
    pub(crate) nothing_below: Option<Amount>,
    pub(crate) takers: Option<u64>,
    pub(crate) reference: Option<String>,
}

impl Cap {
    /// The name, or `cap-N` by its place.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Over what it counts.
    #[must_use]
    pub fn scope(&self) -> CapScope {
        self.scope
    }

    /// The place of its asset in [`super::Policy::assets`].
    #[must_use]
    pub fn asset_place(&self) -> usize {
        usize::from(self.asset)
    }

    /// The most that is given.
    #[must_use]
    pub fn at_most(&self) -> Option<Amount> {
        self.at_most
    }

    /// How many customers may have it.
    #[must_use]
    pub fn takers(&self) -> Option<u64> {
        self.takers
    }

    /// Where it was announced.
    #[must_use]
    pub fn reference(&self) -> Option<&str> {
        self.reference.as_deref()
    }
}

/// How awards of one group exclude each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StackingRule {
    /// The highest by face value stands.
    HighestOf,
    /// The first by priority stands.
    NotBoth,
}

/// The group of policies of which only one pays.
#[derive(Debug, Clone)]
pub struct Stacking {
    pub(crate) group: Box<str>,
    pub(crate) rule: StackingRule,
    pub(crate) priority: i64,
    pub(crate) key: Option<NodeId>,
}

impl Stacking {
    /// The group's name.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
    }

    /// How its awards exclude each other.
    #[must_use]
    pub fn rule(&self) -> StackingRule {
        self.rule
    }

    /// The lower goes first.
    #[must_use]
    pub fn priority(&self) -> i64 {
        self.priority
    }
}

/// An amount of some other asset: what one unit is worth or costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worth {
    /// The asset it is counted in.
    pub asset: AssetCode,
    /// The exact amount.
    pub amount: rust_decimal::Decimal,
}

/// What an asset is worth, costs and demands.
#[derive(Debug, Clone, Default)]
pub struct AssetTerms {
    /// Its title.
    pub title: Option<Localised>,
    /// What one unit is said to be worth.
    pub face: Option<Worth>,
    /// What one unit is worth to the claimant.
    pub usable: Option<Worth>,
    /// What one unit costs the operator.
    pub cost: Option<Worth>,
    /// What must be spent to use it.
    pub min_spend: Option<Worth>,
    /// How long after the grant it expires.
    pub expires_after: Option<chrono::TimeDelta>,
    /// Whether the claimant must enter a means of payment.
    pub payment_method: bool,
    /// Whether it turns into a paid plan.
    pub renews: bool,
    /// Where the terms are stated.
    pub reference: Option<String>,
    pub(crate) span: Span,
}

impl AssetTerms {
    /// What one unit is worth to the claimant: as stated, else its face value, but nothing when it can be used only
    /// by spending more than that.
    #[must_use]
    pub fn usable_value(&self) -> Option<Worth> {
        let face = self.face.as_ref();
        if let Some(stated) = &self.usable {
            return Some(stated.clone());
        }
        let tops_up = self.min_spend.as_ref().zip(face).is_some_and(|(spend, face)| spend.is_above(face));
        face.map(
            |face| if tops_up { Worth { amount: rust_decimal::Decimal::ZERO, ..face.clone() } } else { face.clone() },
        )
    }
}

impl Worth {
    /// Whether it is more of the same asset.
    #[must_use]
    pub fn is_above(&self, other: &Self) -> bool {
        self.asset == other.asset && self.amount > other.amount
    }
}

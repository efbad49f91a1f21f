//! What a policy is, for those who store it, publish it, and build forms from it.

use rust_decimal::Decimal;

use super::diagnostic::Diagnostic;
use super::facts::{FactValue, Facts};
use super::number::parse_decimal;
use super::policy::Policy;
use super::program::Source;
use super::rules::{Action, AssetTerms, Basis, Cap, Document, Reason, Rule, Stacking};
use super::types::Unit;
use crate::asset::Asset;
use crate::id::{IncidentId, PolicyId, ServiceId};
use crate::incident::Localised;

impl Policy {
    /// The policy's name.
    #[must_use]
    pub fn id(&self) -> &PolicyId {
        &self.inner.id
    }

    /// The incident it is for; nothing for a reusable scheme.
    #[must_use]
    pub fn incident(&self) -> Option<&IncidentId> {
        self.inner.incident.as_ref()
    }

    /// The service it is for; nothing for a reusable scheme.
    #[must_use]
    pub fn service(&self) -> Option<&ServiceId> {
        self.inner.service.as_ref()
    }

    /// Where its subjects come from.
    #[must_use]
    pub fn basis(&self) -> Basis {
        self.inner.basis
    }

    /// The SHA-256 of its source, in hexadecimal: the name of this version for ever.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.inner.version
    }

    /// The title.
    #[must_use]
    pub fn title(&self) -> Option<&Localised> {
        self.inner.title.as_ref()
    }

    /// Where it was announced.
    #[must_use]
    pub fn reference(&self) -> Option<&str> {
        self.inner.reference.as_deref()
    }

    /// The file's text.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.inner.source
    }

    /// The file's name.
    #[must_use]
    pub fn file_name(&self) -> &str {
        &self.inner.file
    }

    /// The rules, in their order.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.inner.rules
    }

    /// Every asset that the policy names, in the order that [`super::Award::place`] counts.
    #[must_use]
    pub fn assets(&self) -> &[Asset] {
        &self.inner.program.names.assets
    }

    /// The places in [`Self::assets`] of those that a rule awards.
    #[must_use]
    pub fn awarded_assets(&self) -> Vec<usize> {
        let mut awarded: Vec<usize> = self
            .inner
            .rules
            .iter()
            .filter_map(|rule| match &rule.action {
                Action::Award(items) => Some(items.iter().map(|item| usize::from(item.asset))),
                _ => None,
            })
            .flatten()
            .collect();
        awarded.sort_unstable();
        awarded.dedup();
        awarded
    }

    /// What the asset at a place is worth, costs and demands.
    #[must_use]
    pub fn asset_terms(&self, place: usize) -> Option<&AssetTerms> {
        self.inner.terms.get(place)
    }

    /// The reasons a rule of this policy can give.
    #[must_use]
    pub fn reasons(&self) -> &[Reason] {
        &self.inner.reasons
    }

    /// Which decided claims a second person reads.
    #[must_use]
    pub fn sample(&self) -> super::sample::Sample {
        self.inner.sample
    }

    /// Every reason that a decision under this policy can give, with its wording: its own and the built-in ones.
    #[must_use]
    pub fn reason_wordings(&self) -> Vec<(String, Localised)> {
        let own = self.inner.reasons.iter().map(|reason| (reason.code().to_owned(), reason.wording().clone()));
        let mut all: Vec<_> = own.collect();
        all.extend(
            super::reasons::builtin().filter(|(code, _)| self.inner.reasons.iter().all(|own| own.code() != code)),
        );
        all
    }

    /// The documents it can ask for.
    #[must_use]
    pub fn documents(&self) -> &[Document] {
        &self.inner.documents
    }

    /// The caps over more than one subject.
    #[must_use]
    pub fn caps(&self) -> &[Cap] {
        &self.inner.caps
    }

    /// The group of policies of which only one pays.
    #[must_use]
    pub fn stacking(&self) -> Option<&Stacking> {
        self.inner.stacking.as_ref()
    }

    /// Warnings and what the fairness lint refuses; see [`Diagnostic::refuses`].
    #[must_use]
    pub fn notes(&self) -> &[Diagnostic] {
        &self.inner.notes
    }

    /// The first money that a claimant stated finer than its asset can be, and the asset.
    #[must_use]
    pub fn finer_than_its_asset(&self, stated: &Facts) -> Option<(&str, &Asset)> {
        let program = &self.inner.program;
        program.slots.iter().find_map(|slot| {
            let (Source::Claim(name), Some(Unit::Asset(at))) = (&slot.source, slot.kind.element().unit()) else {
                return None;
            };
            let asset = program.names.assets.get(usize::from(at))?;
            stated.get(name).is_some_and(|value| is_finer(value, asset.scale())).then_some((&**name, asset))
        })
    }

    /// The facts it reads, for forms and rosters.
    pub fn facts(&self) -> impl Iterator<Item = DeclaredFact<'_>> {
        let program = &self.inner.program;
        program.slots.iter().map(move |slot| DeclaredFact {
            name: &slot.name,
            wanted: super::subject::wanted(slot, program),
            kind: super::types::kind_name(slot.kind),
            values: match slot.kind.base {
                super::types::Base::Enum(set) => program.names.enum_values(set),
                _ => &[],
            },
            asset: match slot.kind.element().unit() {
                Some(Unit::Asset(at)) => program.names.assets.get(usize::from(at)),
                _ => None,
            },
            required: slot.default.is_none() && !slot.optional,
            title: slot.title.as_ref(),
        })
    }
}

/// Whether an amount has more places after the point than an asset has.
fn is_finer(value: &FactValue, scale: u8) -> bool {
    let finer = |number: Decimal| number.normalize().scale() > u32::from(scale);
    match value {
        FactValue::Number(number) => finer(*number),
        FactValue::Text(text) => parse_decimal(text).is_some_and(finer),
        FactValue::List(items) => items.iter().any(|item| is_finer(item, scale)),
        FactValue::Bool(_) | FactValue::Window(_) => false,
    }
}

/// A fact that a policy reads.
#[derive(Debug, Clone)]
pub struct DeclaredFact<'p> {
    /// The name, with its prefix.
    pub name: &'p str,
    /// What it must be, in words.
    pub wanted: String,
    /// The type's name as it stands in a policy; a list's is that of its elements.
    pub kind: &'static str,
    /// The values of an enumeration.
    pub values: &'p [Box<str>],
    /// The asset of a money fact.
    pub asset: Option<&'p Asset>,
    /// Whether the policy cannot do without it.
    pub required: bool,
    /// The title, for forms.
    pub title: Option<&'p Localised>,
}

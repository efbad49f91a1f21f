//! What is settled of a customer, all together: automatic policies on what he held, and the claims he was granted.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use redress_domain::id::{CustomerId, PolicyId};
use redress_domain::policy::{ClaimView, Facts, Given, Input, Subject};
use redress_domain::{Amount, AssetCode, Holding};
use redress_store::StoreError;
use redress_store::granted::GrantedClaim;
use redress_store::holdings::HeldRow;
use redress_store::word::Word;
use rust_decimal::Decimal;
use smol_str::SmolStrBuilder;
use uuid::Uuid;

use super::context::{Context, Issuing};
use crate::error::AppError;
use crate::use_cases::claims::{AwardView, stated_facts};

/// A claim that was granted, or credited and declined since, with what its policy may read.
pub(super) struct Granted<'a> {
    /// The policy under which it was granted; none where nobody grants it any more.
    issuing: Option<&'a Issuing>,
    id: Uuid,
    /// Whether it waits for its credit.
    waits: bool,
    service_key: i32,
    awards: Vec<Given>,
    facts: Facts,
    submitted_at: Option<DateTime<Utc>>,
}

/// What is settled: a policy applied to one holding or claim.
pub(super) struct Item<'c, 'a> {
    pub(super) issuing: &'c Issuing,
    pub(super) name: Word,
    /// The holding's place among the customer's rows, where it is one.
    pub(super) row: Option<usize>,
    /// The claim, where it is one that waits for its credit.
    pub(super) claim: Option<Uuid>,
    /// Whether it is there only because it may pay the same loss as another.
    pub(super) is_history: bool,
    pub(super) input: Input<'a>,
    /// What was credited for it before.
    pub(super) before: Before,
}

/// What was credited for a subject before, and what of it was taken back.
#[derive(Default)]
pub(super) struct Before {
    pub(super) given: Vec<Given>,
    pub(super) reversed: Vec<Given>,
}

/// What was credited before to one customer, by policy and subject.
pub(super) type Credited = HashMap<(PolicyId, Word), Before>;

/// What of a customer cannot be read, and why.
pub(super) struct Corrupt {
    pub(super) subject: String,
    pub(super) error: StoreError,
}

/// What a customer held at a service: the holdings, each with its place among all his rows.
pub(super) type HeldAt = (i32, Vec<(usize, Holding)>);

/// What a customer held, service by service, as far as policies are in force for it; of whom something was credited before, also
/// where they were.
pub(super) fn held(
    context: &Context<'_>,
    customer: &CustomerId,
    rows: &[HeldRow],
    has_credits: bool,
) -> Result<Vec<HeldAt>, Corrupt> {
    let mut held: Vec<HeldAt> = Vec::new();
    for (place, row) in rows.iter().enumerate() {
        let service_key = row.service_id;
        let Some((service, _)) = context.views.get(&service_key) else { continue };
        if context.of_service(service_key).next().is_none() && !(has_credits && context.had_policies(service_key)) {
            continue;
        }
        let holding = row
            .holding(customer, service)
            .map_err(|(reference, error)| Corrupt { subject: subject_of(&reference).to_string(), error })?;
        match held.last_mut().filter(|(key, _)| *key == service_key) {
            Some((_, holdings)) => holdings.push((place, holding)),
            None => held.push((service_key, vec![(place, holding)])),
        }
    }
    Ok(held)
}

/// The name of a holding as a subject.
pub(super) fn subject_of(reference: &str) -> Word {
    let mut name = SmolStrBuilder::new();
    name.push_str("holding/");
    name.push_str(reference);
    name.finish().into()
}

/// Everything that is settled of a customer: automatic policies on holdings, claims that were granted, and what was credited for
/// anything else, since it stands whatever became of its policy, claim or holding.
pub(super) fn items<'c, 'a>(
    context: &'c Context<'_>,
    held: &'a [HeldAt],
    granted: &'a [Granted<'c>],
    mut credited: Credited,
) -> Vec<Item<'c, 'a>>
where
    'c: 'a,
{
    let mut items = Vec::new();
    let mut take = |issuing: &Issuing, name: Word| {
        if credited.is_empty() {
            return (name, Before::default());
        }
        let key = (issuing.active.policy.id().clone(), name);
        let before = credited.remove(&key).unwrap_or_default();
        (key.1, before)
    };
    let of_service = |service_key: i32| {
        let holdings = held.iter().find(|(key, _)| *key == service_key).map_or(&[][..], |(_, holdings)| holdings);
        let account = holdings.iter().find(|(_, holding)| &*holding.kind == "account");
        Subject {
            incident: context.views.get(&service_key).map(|(_, view)| view),
            account: account.map(|(_, holding)| &holding.attributes),
            ..Subject::default()
        }
    };
    for (service_key, holdings) in held {
        let subject = of_service(*service_key);
        for issuing in context.of_service(*service_key).filter(|issuing| issuing.active.is_automatic()) {
            for (row, holding) in holdings {
                let input = Input::Records(Subject { holding: Some(holding), ..subject });
                let (name, before) = take(issuing, subject_of(holding.reference.as_str()));
                let is_history = !issuing.is_in_scope;
                items.push(Item { issuing, name, row: Some(*row), claim: None, is_history, input, before });
            }
        }
    }
    let of_claim = |claim: &'a Granted<'c>| {
        let view = ClaimView { submitted_at: claim.submitted_at, fields: &claim.facts };
        Subject { claim: Some(view), ..of_service(claim.service_key) }
    };
    for claim in granted {
        let Some(issuing) = claim.issuing else { continue };
        let input = Input::Decided { awards: &claim.awards, subject: of_claim(claim) };
        let (name, before) = take(issuing, name_of(claim.id));
        let waits = claim.waits && issuing.is_in_scope;
        let claim = waits.then_some(claim.id);
        items.push(Item { issuing, name, row: None, claim, is_history: !waits, input, before });
    }
    for ((policy, name), before) in credited {
        let Some(issuing) = context.by_name(&policy) else { continue };
        let service_key = issuing.active.service_key;
        let holdings = held.iter().filter(|(key, _)| *key == service_key).flat_map(|(_, holdings)| holdings);
        let holding = holdings.map(|(_, holding)| holding).find(|held| subject_of(held.reference.as_str()) == name);
        let subject = match granted.iter().find(|claim| name_of(claim.id) == name) {
            Some(claim) => of_claim(claim),
            None => Subject { holding, ..of_service(service_key) },
        };
        let input = Input::Decided { awards: &[], subject };
        items.push(Item { issuing, name, row: None, claim: None, is_history: true, input, before });
    }
    items
}

/// The name of a claim as a subject.
fn name_of(claim: Uuid) -> Word {
    Word::from(format!("claim/{claim}"))
}

/// What was granted to a claim. The version that granted it, or its policy, may be retired since: what it granted stands.
pub(super) fn granted<'c>(context: &'c Context<'_>, claim: &GrantedClaim) -> Result<Granted<'c>, Corrupt> {
    let policy = claim.policy_version_id.and_then(|version| context.names.get(&version));
    let issuing = policy.and_then(|policy| context.by_name(policy));
    let corrupt = |error: StoreError| Corrupt { subject: format!("claim/{}", claim.id), error };
    let awards = awards(context, claim).map_err(corrupt)?;
    let facts = stated_facts(claim.id, &claim.facts).map_err(|error| match error {
        AppError::Store(error) => corrupt(error),
        other => corrupt(StoreError::corrupt(other)),
    })?;
    let waits = matches!(claim.state.as_str(), "approved" | "partly_approved");
    let (id, service_key, submitted_at) = (claim.id, claim.service_id, claim.submitted_at);
    Ok(Granted { issuing, id, waits, service_key, awards, facts: facts.facts, submitted_at })
}

fn awards(context: &Context<'_>, claim: &GrantedClaim) -> Result<Vec<Given>, StoreError> {
    let awards: Vec<AwardView> = serde_json::from_value(claim.awards.clone()).map_err(StoreError::corrupt)?;
    let awards = awards.iter().map(|award| {
        let asset = AssetCode::parse(&award.asset).map_err(StoreError::corrupt)?;
        let amount = Decimal::from_str_exact(&award.amount).map_err(StoreError::corrupt)?;
        let scale = u8::try_from(context.scale_of(&asset)).map_err(StoreError::corrupt)?;
        Ok(Given { asset, amount: Amount::from_decimal(amount, scale).map_err(StoreError::corrupt)? })
    });
    awards.collect()
}

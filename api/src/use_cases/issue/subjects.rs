//! What is settled of a customer, all together: automatic policies on what he held, and the claims he was granted.

use chrono::{DateTime, Utc};
use redress_domain::id::CustomerId;
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

/// A claim that was granted, with what its policy may read.
pub(super) struct Granted<'a> {
    issuing: &'a Issuing,
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
    pub(super) given: Vec<Given>,
}

/// What of a customer cannot be read, and why.
pub(super) struct Corrupt {
    pub(super) subject: String,
    pub(super) error: StoreError,
}

/// What a customer held at a service: the holdings, each with its place among all his rows.
pub(super) type HeldAt = (i32, Vec<(usize, Holding)>);

/// What a customer held, service by service, as far as policies are in force for it.
pub(super) fn held(context: &Context<'_>, customer: &CustomerId, rows: &[HeldRow]) -> Result<Vec<HeldAt>, Corrupt> {
    let mut held: Vec<HeldAt> = Vec::new();
    for (place, row) in rows.iter().enumerate() {
        let service_key = row.service_id;
        let Some((service, _)) = context.views.get(&service_key) else { continue };
        if context.of_service(service_key).next().is_none() {
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

/// Everything that is settled of a customer: automatic policies on holdings, and claims that were granted.
pub(super) fn items<'c, 'a>(
    context: &'c Context<'_>,
    held: &'a [HeldAt],
    granted: &'a [Granted<'c>],
) -> Vec<Item<'c, 'a>>
where
    'c: 'a,
{
    let mut items = Vec::new();
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
                let (name, is_history) = (subject_of(holding.reference.as_str()), !issuing.is_in_scope);
                items.push(Item { issuing, name, row: Some(*row), claim: None, is_history, input, given: Vec::new() });
            }
        }
    }
    for claim in granted {
        let view = ClaimView { submitted_at: claim.submitted_at, fields: &claim.facts };
        let subject = Subject { claim: Some(view), ..of_service(claim.service_key) };
        let input = Input::Decided { awards: &claim.awards, subject };
        let name = Word::from(format!("claim/{}", claim.id));
        let waits = claim.waits && claim.issuing.is_in_scope;
        let (issuing, claim) = (claim.issuing, waits.then_some(claim.id));
        items.push(Item { issuing, name, row: None, claim, is_history: !waits, input, given: Vec::new() });
    }
    items
}

/// What was granted to a claim; none when no version of its policy is in force any more. The version that granted it may
/// be retired since: what it granted stands.
pub(super) fn granted<'c>(context: &'c Context<'_>, claim: &GrantedClaim) -> Result<Option<Granted<'c>>, Corrupt> {
    let Some(policy) = claim.policy_version_id.and_then(|version| context.names.get(&version)) else {
        return Ok(None);
    };
    let in_force = context.of_service(claim.service_id).find(|issuing| issuing.active.policy.id() == policy);
    let Some(issuing) = in_force else { return Ok(None) };
    let corrupt = |error: StoreError| Corrupt { subject: format!("claim/{}", claim.id), error };
    let awards = awards(context, claim).map_err(corrupt)?;
    let facts = stated_facts(claim.id, &claim.facts).map_err(|error| match error {
        AppError::Store(error) => corrupt(error),
        other => corrupt(StoreError::corrupt(other)),
    })?;
    let waits = matches!(claim.state.as_str(), "approved" | "partly_approved");
    let (id, service_key, submitted_at) = (claim.id, claim.service_id, claim.submitted_at);
    Ok(Some(Granted { issuing, id, waits, service_key, awards, facts: facts.facts, submitted_at }))
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

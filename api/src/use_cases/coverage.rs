//! "Am I covered?": what somebody gets without asking and what can be claimed, service by service, in both languages.
//!
//! With a customer's token the answer is from the records. Without, it is about what is stated and reads no records at all, so
//! it tells nobody what somebody else holds.

use redress_domain::holding::{Attribute, Attributes};
use redress_domain::id::{CustomerId, HoldingRef, IncidentId, ServiceId};
use redress_domain::incident::{AffectedService, Localised};
use redress_domain::policy::{Basis, IncidentView, Language, OutcomeKind, Subject};
use redress_domain::{Holding, Incident};
use redress_store::holdings;
use redress_store::{Connection, StoreError, incidents};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use validator::Validate;

use crate::app::App;
use crate::assess;
use crate::error::AppResult;
use crate::policy_cache::ActivePolicy;
use crate::shapes::Slug;
use crate::use_cases::claims::{AwardView, ReasonView, Text};

/// A question about coverage.
#[derive(Debug, Clone, Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CoverageQuery {
    /// The incident.
    #[param(inline, value_type = Slug, example = "kakao-2022-10-15")]
    pub incident: IncidentId,
    /// Only this service; all when left out.
    #[param(inline, value_type = Option<Slug>, example = "melon")]
    pub service: Option<ServiceId>,
    /// What is held there, such as `subscription`; without a customer's token.
    #[validate(length(min = 1, max = 64, message = "has 1 to 64 characters"))]
    #[param(example = "subscription", min_length = 1, max_length = 64)]
    pub kind: Option<String>,
    /// Which product, if it matters.
    #[validate(length(min = 1, max = 64, message = "has 1 to 64 characters"))]
    #[param(min_length = 1, max_length = 64)]
    pub product: Option<String>,
    /// Since when it is held.
    #[serde(default, deserialize_with = "crate::instant::option")]
    pub valid_from: Option<chrono::DateTime<chrono::Utc>>,
    /// Until when.
    #[serde(default, deserialize_with = "crate::instant::option")]
    pub valid_until: Option<chrono::DateTime<chrono::Utc>>,
}

/// What is covered.
#[derive(Debug, Serialize, ToSchema)]
pub struct Coverage {
    /// The incident.
    pub incident: String,
    /// Whether this is about the customer's own records; else it is about what was stated.
    pub from_records: bool,
    /// Service by service.
    pub services: Vec<ServiceCoverage>,
}

/// What is covered at a service.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServiceCoverage {
    /// The service.
    pub service: String,
    /// Its name as customers know it.
    pub title: Text,
    /// Since when it was hit.
    pub from: Option<chrono::DateTime<chrono::Utc>>,
    /// Until when.
    pub until: Option<chrono::DateTime<chrono::Utc>>,
    /// What comes without asking: one answer a holding and policy.
    pub without_asking: Vec<Entitlement>,
    /// What can be claimed, policy by policy.
    pub by_claim: Vec<Claimable>,
    /// It in a sentence.
    pub sentence: Text,
}

/// What comes without asking for one holding.
#[derive(Debug, Serialize, ToSchema)]
pub struct Entitlement {
    /// The policy.
    pub policy: String,
    /// The kind of what is held, with its product.
    pub holding: String,
    /// `award`, `decline`, `review`, `pending`, or `depends` where the records have to be seen.
    pub outcome: &'static str,
    /// What it comes to, before caps over several holdings.
    pub awards: Vec<AwardView>,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<ReasonView>,
    /// It in a sentence.
    pub sentence: Text,
}

/// Something that can be claimed.
#[derive(Debug, Serialize, ToSchema)]
pub struct Claimable {
    /// The policy to name in the claim.
    pub policy: String,
    /// What it is about.
    pub title: Text,
    /// What has to be stated: the names of facts.
    pub states: Vec<String>,
    /// The documents that may be asked for, only where the policy needs them.
    pub documents: Vec<Text>,
}

/// Answers a question; `customer` is who asks, if his token says so. A fault is the name of the parameter and what is wrong.
pub fn answer(
    app: &App,
    query: &CoverageQuery,
    customer: Option<&CustomerId>,
) -> AppResult<Result<Coverage, (&'static str, String)>> {
    app.store.with(|connection| {
        let found = match incidents::find(connection, &query.incident) {
            Ok(found) => found,
            Err(StoreError::NotFound(what)) => return Ok(Err(("incident", format!("there is no {what}")))),
            Err(error) => return Err(error.into()),
        };
        if let Some(service) = query.service.as_ref().filter(|service| found.incident.service(service).is_none()) {
            return Ok(Err(("service", format!("{service} is not part of incident {}", query.incident))));
        }
        if query.valid_from.zip(query.valid_until).is_some_and(|(from, until)| until <= from) {
            return Ok(Err(("valid_until", "must come after valid_from".to_owned())));
        }
        let mut services = Vec::new();
        for affected in &found.incident.services {
            if query.service.as_ref().is_none_or(|service| *service == affected.id) {
                let key = found.service_key(&affected.id)?;
                let policies = assess::policies_of_service(app, connection, found.key, key)?;
                let held = held(connection, query, customer, found.key, key, &affected.id)?;
                services.push(of_service(&found.incident, affected, &policies, &held, customer));
            }
        }
        let incident = query.incident.to_string();
        Ok(Ok(Coverage { incident, from_records: customer.is_some(), services }))
    })
}

/// What is held: the customer's records, or what was stated.
fn held(
    connection: &mut Connection,
    query: &CoverageQuery,
    customer: Option<&CustomerId>,
    incident: i32,
    key: i32,
    service: &ServiceId,
) -> AppResult<Vec<Holding>> {
    if let Some(customer) = customer {
        let rows = holdings::of_customer(connection, incident, customer.as_str(), key)?;
        return rows.iter().map(|row| Ok(row.holding(customer, service).map_err(|(_, error)| error)?)).collect();
    }
    let Some(kind) = &query.kind else { return Ok(Vec::new()) };
    let stated: [(String, Attribute); 0] = [];
    Ok(vec![Holding {
        customer: CustomerId::parse("stated").map_err(StoreError::corrupt)?,
        service: service.clone(),
        reference: HoldingRef::parse("stated").map_err(StoreError::corrupt)?,
        kind: kind.as_str().into(),
        product: query.product.as_deref().unwrap_or_default().into(),
        valid_from: query.valid_from,
        valid_until: query.valid_until,
        attributes: Attributes::new(stated).map_err(StoreError::corrupt)?,
    }])
}

fn of_service(
    incident: &Incident,
    affected: &AffectedService,
    policies: &[ActivePolicy],
    held: &[Holding],
    customer: Option<&CustomerId>,
) -> ServiceCoverage {
    let view = IncidentView::new(incident, &affected.id);
    let mut without_asking = Vec::new();
    for active in policies.iter().filter(|active| active.is_automatic()) {
        without_asking.extend(held.iter().map(|holding| entitlement(active, &view, holding, held, customer.is_some())));
    }
    let by_claim: Vec<Claimable> = policies
        .iter()
        .filter(|active| matches!(active.policy.basis(), Basis::Claim | Basis::OnRequest))
        .map(claimable)
        .collect();
    let hull = affected.hull();
    ServiceCoverage {
        service: affected.id.to_string(),
        title: affected.title.clone().into(),
        from: hull.as_ref().map(redress_domain::Window::from),
        until: hull.as_ref().map(redress_domain::Window::until),
        sentence: in_a_sentence(policies, &without_asking, &by_claim),
        without_asking,
        by_claim,
    }
}

fn entitlement(
    active: &ActivePolicy,
    view: &IncidentView,
    holding: &Holding,
    held: &[Holding],
    from_records: bool,
) -> Entitlement {
    let account = held.iter().find(|holding| &*holding.kind == "account").map(|holding| &holding.attributes);
    let subject = Subject { incident: Some(view), holding: Some(holding), account, ..Subject::default() };
    let explained = active.policy.explain(&subject);
    // What is stated has no attributes: where a rule reads them, only the records can say.
    let lacks = explained.values.iter().any(|value| ["default", "missing"].contains(&value.origin.as_str()));
    let depends = explained.outcome == OutcomeKind::Error
        || (!from_records && (lacks || explained.outcome == OutcomeKind::Review));
    let shown = if holding.product.is_empty() {
        holding.kind.to_string()
    } else {
        format!("{} {}", holding.kind, holding.product)
    };
    let sentence = if depends {
        Text {
            ko: "이용 기록에 따라 달라집니다. 별도로 신청하지 않아도 기록에 따라 지급됩니다.".into(),
            en: "It depends on our records. What they grant comes without asking.".into(),
        }
    } else {
        Text { ko: explained.sentence(Language::Korean), en: explained.sentence(Language::English) }
    };
    let award = |award: &redress_domain::policy::AssessedAward| AwardView {
        asset: award.asset.clone(),
        amount: award.amount.clone(),
    };
    Entitlement {
        policy: active.policy.id().to_string(),
        holding: shown,
        outcome: if depends { "depends" } else { explained.outcome.as_str() },
        awards: if depends { Vec::new() } else { explained.awards.iter().map(award).collect() },
        reason: explained
            .reason
            .as_ref()
            .filter(|_| !depends)
            .map(|reason| ReasonView { code: reason.code.clone(), appealable: reason.appealable }),
        sentence,
    }
}

fn claimable(active: &ActivePolicy) -> Claimable {
    let policy = &active.policy;
    let title = titled(policy.title(), policy.id().as_str());
    Claimable {
        policy: policy.id().to_string(),
        title,
        states: policy.facts().filter_map(|fact| fact.name.strip_prefix("claim.").map(str::to_owned)).collect(),
        documents: policy.documents().iter().map(|document| titled(document.title(), document.code())).collect(),
    }
}

fn titled(title: Option<&Localised>, code: &str) -> Text {
    title.cloned().map_or_else(|| Text { ko: code.to_owned(), en: code.to_owned() }, Text::from)
}

fn in_a_sentence(policies: &[ActivePolicy], without_asking: &[Entitlement], by_claim: &[Claimable]) -> Text {
    let gets = without_asking.iter().any(|one| one.outcome == "award");
    let automatic = policies.iter().any(ActivePolicy::is_automatic);
    let (ko, en) = match (policies.is_empty(), gets, automatic, by_claim.is_empty()) {
        (true, ..) => (
            "보상 기준이 아직 정해지지 않았습니다. 지금 신고하시면 기준이 정해진 뒤 다시 신청하지 않아도 심사합니다.",
            "How this service compensates is not decided yet. A report filed now is assessed then.",
        ),
        (_, true, ..) => ("신청하지 않아도 지급됩니다.", "You get this without asking."),
        (_, _, true, true) => (
            "이 서비스는 이용 기록에 따라 자동으로 보상합니다.",
            "This service compensates from its records, without a claim.",
        ),
        (_, _, _, false) => ("피해를 신고하시면 심사하여 보상합니다.", "You can claim your loss."),
        (_, _, false, true) => ("지금은 신청할 수 있는 보상이 없습니다.", "There is nothing to claim at the moment."),
    };
    Text { ko: ko.into(), en: en.into() }
}

//! Figures for people outside: what was authorised, what was credited, what became of it, what it is worth and what it
//! costs. From the ledger and the versions of the policies it names alone, so that two histories that did the same
//! print the same.

mod duties;
mod worth;

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use redress_domain::id::IncidentId;
use redress_store::summary::{self, FlowSum};
use redress_store::webhooks::{self, DELIVERIES};
use redress_store::{Connection, StoreError, incidents, ledger};
use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;

pub use self::duties::{Funnel, NoticeClocks, funnel, notice_clocks};
use self::worth::{Terms, Worths};
use super::ledger::settled_instant;
use crate::app::App;
use crate::error::AppResult;

/// What an operator stands for.
#[derive(Debug, Serialize, ToSchema)]
pub struct Exposure {
    /// By incident.
    pub incidents: Vec<IncidentExposure>,
}

/// What an operator stands for in one incident.
#[derive(Debug, Serialize, ToSchema)]
pub struct IncidentExposure {
    /// The incident.
    pub incident: String,
    /// By service and asset.
    pub budgets: Vec<BudgetExposure>,
    /// By service, policy and asset.
    pub credits: Vec<CreditExposure>,
}

/// A budget.
#[derive(Debug, Serialize, ToSchema)]
pub struct BudgetExposure {
    /// The service.
    pub service: String,
    /// The asset.
    pub asset: String,
    /// Approved, whatever became of it.
    pub approved: String,
    /// Given back.
    pub released: String,
    /// Issued, less what was reversed.
    pub issued: String,
    /// Left.
    pub left: String,
}

/// What was credited.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreditExposure {
    /// The service.
    pub service: String,
    /// The policy.
    pub policy: String,
    /// The asset.
    pub asset: String,
    /// How many credits were issued.
    pub credits: i64,
    /// How much of the asset, less what was reversed.
    pub amount: String,
    /// How much was reversed.
    pub reversed: String,
    /// How much of the amount expired unused.
    pub breakage: String,
    /// What the amount is said to be worth, by the version that granted it, with its currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub face: Option<String>,
    /// What the amount costs the operator, by the version that granted it, with its currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<String>,
}

/// The exposure of one incident, or of all.
pub fn exposure(app: &App, incident: Option<&IncidentId>) -> AppResult<Exposure> {
    app.store.with(|connection| {
        let mut exposed = Vec::new();
        for (name, key) in chosen(connection, incident)? {
            let budgets = summary::budgets(connection, key)?
                .into_iter()
                .map(|budget| {
                    let shown = |minor: Decimal| figure(minor, budget.scale);
                    BudgetExposure {
                        approved: shown(budget.approved),
                        released: shown(budget.released),
                        issued: shown(budget.issued),
                        left: shown(budget.left),
                        service: budget.service,
                        asset: budget.asset,
                    }
                })
                .collect();
            let sums = summary::flows(connection, key, None)?;
            let terms = Terms::load(app, connection, &sums)?;
            let credits =
                by_policy(&sums).map(|versions| credit_exposure(versions, &terms)).collect::<AppResult<_>>()?;
            exposed.push(IncidentExposure { incident: name.to_string(), budgets, credits });
        }
        Ok(Exposure { incidents: exposed })
    })
}

fn credit_exposure(versions: &[FlowSum], terms: &Terms) -> AppResult<CreditExposure> {
    let Some(first) = versions.first() else { return Err(StoreError::corrupt("a sum of nothing").into()) };
    let net = |sum: &FlowSum| sum.issued.checked_sub(sum.reversed);
    let amount = total(versions, net)?;
    let worths = Worths::of(versions, terms, net);
    Ok(CreditExposure {
        service: first.service.clone(),
        policy: first.policy.clone(),
        asset: first.asset.clone(),
        credits: versions.iter().map(|sum| sum.credits).sum(),
        amount: figure(amount, first.scale),
        reversed: figure(total(versions, |sum| Some(sum.reversed))?, first.scale),
        breakage: figure(total(versions, |sum| Some(sum.breakage))?, first.scale),
        face: worths.face,
        cost: worths.cost,
    })
}

/// What became of what was credited, and what of it is still to be paid.
#[derive(Debug, Serialize, ToSchema)]
pub struct Liability {
    /// The instant, if one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<DateTime<Utc>>,
    /// By incident.
    pub incidents: Vec<IncidentLiability>,
}

/// What became of what was credited in one incident.
#[derive(Debug, Serialize, ToSchema)]
pub struct IncidentLiability {
    /// The incident.
    pub incident: String,
    /// By service, policy and asset.
    pub lines: Vec<LiabilityLine>,
}

/// What became of the credits of one policy in one asset.
#[derive(Debug, Serialize, ToSchema)]
pub struct LiabilityLine {
    /// The service.
    pub service: String,
    /// The policy.
    pub policy: String,
    /// The asset.
    pub asset: String,
    /// Issued, whatever became of it: the sum of all that follows.
    pub issued: Portion,
    /// Still owed to customers.
    pub owed: Portion,
    /// Granted by the service.
    pub delivered: Portion,
    /// Expired unused: worth its face to nobody, and what the operator did not have to pay.
    pub breakage: Portion,
    /// Written off as undeliverable, until a person settles it.
    pub suspense: Portion,
    /// Reversed into the budget.
    pub reversed: Portion,
    /// How what is owed is delivered: `webhook`, or `by-hand` where the service is told nothing by itself. Only of now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<&'static str>,
}

/// An amount of the asset, what it is said to be worth and what it costs.
#[derive(Debug, Serialize, ToSchema)]
pub struct Portion {
    /// How much of the asset.
    pub amount: String,
    /// Face value, by the version that granted it, with its currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub face: Option<String>,
    /// What it costs the operator, by the version that granted it, with its currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<String>,
}

/// The liability of one incident, or of all, now or at an instant; the answer for an instant never changes later.
pub fn liability(app: &App, incident: Option<&IncidentId>, at: Option<DateTime<Utc>>) -> AppResult<Liability> {
    app.store.with(|connection| {
        if at.is_some() {
            let settled = ledger::settle(connection)?;
            settled_instant(at, settled)?;
        }
        let told: HashSet<String> = webhooks::list(connection, false)?
            .into_iter()
            .filter(|(webhook, _)| webhook.purpose == DELIVERIES)
            .filter_map(|(_, service)| service)
            .collect();
        let mut incidents = Vec::new();
        for (name, key) in chosen(connection, incident)? {
            let sums = summary::flows(connection, key, at)?;
            let terms = Terms::load(app, connection, &sums)?;
            let mut lines: Vec<LiabilityLine> =
                by_policy(&sums).map(|versions| line(versions, &terms)).collect::<AppResult<_>>()?;
            if at.is_none() {
                for line in &mut lines {
                    line.delivery = Some(if told.contains(&line.service) { "webhook" } else { "by-hand" });
                }
            }
            incidents.push(IncidentLiability { incident: name.to_string(), lines });
        }
        Ok(Liability { at, incidents })
    })
}

fn line(versions: &[FlowSum], terms: &Terms) -> AppResult<LiabilityLine> {
    let Some(first) = versions.first() else { return Err(StoreError::corrupt("a sum of nothing").into()) };
    let portion = |part: fn(&FlowSum) -> Option<Decimal>| -> AppResult<Portion> {
        let worths = Worths::of(versions, terms, part);
        Ok(Portion { amount: figure(total(versions, part)?, first.scale), face: worths.face, cost: worths.cost })
    };
    Ok(LiabilityLine {
        service: first.service.clone(),
        policy: first.policy.clone(),
        asset: first.asset.clone(),
        issued: portion(|sum| Some(sum.issued))?,
        owed: portion(FlowSum::owed)?,
        delivered: portion(|sum| Some(sum.delivered))?,
        breakage: portion(|sum| Some(sum.breakage))?,
        suspense: portion(|sum| Some(sum.suspense))?,
        reversed: portion(|sum| Some(sum.reversed))?,
        delivery: None,
    })
}

/// The incident asked for, or all, with their keys.
fn chosen(connection: &mut Connection, incident: Option<&IncidentId>) -> AppResult<Vec<(IncidentId, i32)>> {
    let names = match incident {
        Some(incident) => vec![incident.clone()],
        None => incidents::names(connection, "", i64::MAX)?
            .iter()
            .map(|name| IncidentId::parse(name).map_err(StoreError::corrupt))
            .collect::<Result<_, _>>()?,
    };
    names
        .into_iter()
        .map(|name| {
            let key = incidents::find(connection, &name)?.key;
            Ok((name, key))
        })
        .collect()
}

/// The sums of all versions of a policy in one asset stand together.
fn by_policy(sums: &[FlowSum]) -> impl Iterator<Item = &[FlowSum]> {
    sums.chunk_by(|a, b| (&a.service, &a.policy, &a.asset) == (&b.service, &b.policy, &b.asset))
}

/// The sum of a part over versions, in minor units.
fn total(versions: &[FlowSum], part: impl Fn(&FlowSum) -> Option<Decimal>) -> AppResult<Decimal> {
    let sum = versions.iter().try_fold(Decimal::ZERO, |sum, version| sum.checked_add(part(version)?));
    Ok(sum.ok_or_else(|| StoreError::corrupt("a sum of the ledger is beyond what can be counted"))?)
}

/// Minor units as a decimal of the asset's unit.
#[must_use]
pub fn scaled(minor: Decimal, scale: i16) -> Decimal {
    let mut minor = minor.trunc();
    // Sums of whole minor units have no digits of their own, so setting the scale moves the point and nothing else.
    if minor.set_scale(u32::try_from(scale).unwrap_or(0)).is_err() {
        return Decimal::ZERO;
    }
    minor
}

/// Minor units as a text in the asset's unit.
#[must_use]
pub fn figure(minor: Decimal, scale: i16) -> String {
    scaled(minor, scale).to_string()
}

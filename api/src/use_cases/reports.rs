//! Figures for people outside: what was authorised, what was credited, what it cost. From the ledger alone.

use std::collections::BTreeMap;

use redress_domain::AssetCode;
use redress_domain::id::IncidentId;
use redress_domain::policy::Worth;
use redress_store::{StoreError, incidents, ledger, policies, summary};
use rust_decimal::Decimal;
use serde::Serialize;

use crate::app::App;
use crate::error::AppResult;

/// What an operator stands for.
#[derive(Debug, Serialize)]
pub struct Exposure {
    /// By incident.
    pub incidents: Vec<IncidentExposure>,
}

/// What an operator stands for in one incident.
#[derive(Debug, Serialize)]
pub struct IncidentExposure {
    /// The incident.
    pub incident: String,
    /// By service and asset.
    pub budgets: Vec<BudgetExposure>,
    /// By service, policy and asset.
    pub credits: Vec<CreditExposure>,
}

/// A budget.
#[derive(Debug, Serialize)]
pub struct BudgetExposure {
    /// The service.
    pub service: String,
    /// The asset.
    pub asset: String,
    /// Approved.
    pub approved: String,
    /// Issued.
    pub issued: String,
    /// Left.
    pub left: String,
}

/// What was credited.
#[derive(Debug, Serialize)]
pub struct CreditExposure {
    /// The service.
    pub service: String,
    /// The policy.
    pub policy: String,
    /// The asset.
    pub asset: String,
    /// How many credits.
    pub credits: i64,
    /// How much of the asset.
    pub amount: String,
    /// What it is said to be worth, by the policy in force, with its currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub face: Option<String>,
    /// What it costs the operator, by the policy in force, with its currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<String>,
}

/// The exposure of one incident, or of all.
pub fn exposure(app: &App, incident: Option<&IncidentId>) -> AppResult<Exposure> {
    app.store.with(|connection| {
        let names = match incident {
            Some(incident) => vec![incident.clone()],
            None => incidents::names(connection)?
                .iter()
                .map(|name| IncidentId::parse(name).map_err(StoreError::corrupt))
                .collect::<Result<_, _>>()?,
        };
        let mut exposed = Vec::with_capacity(names.len());
        for name in names {
            let key = incidents::find(connection, &name)?.key;
            let terms = terms(app, connection, key)?;
            let budgets = ledger::budget_views(connection, key)?
                .into_iter()
                .map(|budget| {
                    let shown = |minor: i64| figure(Decimal::from(minor), budget.scale);
                    BudgetExposure {
                        approved: shown(budget.approved),
                        issued: shown(budget.spent),
                        left: shown(budget.approved - budget.spent),
                        service: budget.service,
                        asset: budget.asset,
                    }
                })
                .collect();
            let credits = summary::credits(connection, key)?
                .into_iter()
                .map(|sum| {
                    let amount = scaled(sum.amount, sum.scale);
                    let worth = terms.get(&(sum.policy.clone(), sum.asset.clone()));
                    let of = |worth: Option<&Worth>| {
                        let worth = worth?;
                        Some(format!("{} {}", worth.amount.checked_mul(amount)?.normalize(), worth.asset))
                    };
                    CreditExposure {
                        face: of(worth.and_then(|(face, _)| face.as_ref())),
                        cost: of(worth.and_then(|(_, cost)| cost.as_ref())),
                        service: sum.service,
                        policy: sum.policy,
                        asset: sum.asset,
                        credits: sum.credits,
                        amount: amount.to_string(),
                    }
                })
                .collect();
            exposed.push(IncidentExposure { incident: name.to_string(), budgets, credits });
        }
        Ok(Exposure { incidents: exposed })
    })
}

/// Face value and cost of one unit, by policy and asset.
type Terms = BTreeMap<(String, String), (Option<Worth>, Option<Worth>)>;

fn terms(app: &App, connection: &mut redress_store::Connection, incident_key: i32) -> AppResult<Terms> {
    let mut terms = Terms::new();
    for version in policies::in_force(connection, incident_key)? {
        let active = app.policies.compile(&version)?;
        for (place, asset) in active.policy.assets().iter().enumerate() {
            let code: &AssetCode = asset.code();
            if let Some(declared) = active.policy.asset_terms(place) {
                let key = (active.policy.id().to_string(), code.to_string());
                terms.insert(key, (declared.face.clone(), declared.cost.clone()));
            }
        }
    }
    Ok(terms)
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

//! Budgets: one person authorises an amount, another approves it, and only then it can be issued. What was rejected can
//! never be approved.

use chrono::{DateTime, Utc};
use redress_domain::id::{IncidentId, ServiceId};
use redress_domain::{Amount, Asset, AssetCode};
use redress_store::budgets::{self, RequestRow};
use redress_store::{Connection, StoreError, audit, incidents, ledger};
use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;

use super::once::{self, Done, Once};
use super::reports::{figure, scaled};
use super::staff;
use crate::app::{Actor, App};
use crate::error::{AppError, AppResult};
use crate::rights::Right;

/// What a budget command speaks of.
#[derive(Debug, Clone)]
pub struct BudgetOrder {
    /// The incident.
    pub incident: IncidentId,
    /// The service.
    pub service: ServiceId,
    /// The asset.
    pub asset: AssetCode,
    /// How much, in the asset's unit.
    pub amount: Decimal,
}

impl BudgetOrder {
    /// Reads the flags of the command line; the error names the flag.
    pub fn parse(incident: &str, service: &str, asset: &str, amount: &str) -> AppResult<Self> {
        let invalid = |flag: &str, error: String| AppError::Usage(format!("--{flag}: {error}"));
        Ok(Self {
            incident: IncidentId::parse(incident).map_err(|e| invalid("incident", e.to_string()))?,
            service: ServiceId::parse(service).map_err(|e| invalid("service", e.to_string()))?,
            asset: AssetCode::parse(asset).map_err(|e| invalid("asset", e.to_string()))?,
            amount: parse_amount(amount)?,
        })
    }
}

/// Reads an amount of the command line, in the asset's unit.
pub fn parse_amount(amount: &str) -> AppResult<Decimal> {
    Decimal::from_str_exact(&amount.replace('_', ""))
        .map_err(|_| AppError::Usage(format!("--amount: {amount:?} is no exact number")))
}

/// What is done about an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Asks for it.
    Authorise,
    /// Approves what another person asked for.
    Approve,
    /// Rejects what somebody asked for.
    Reject,
}

impl Act {
    /// What it is afterwards.
    #[must_use]
    pub fn done(self) -> &'static str {
        match self {
            Self::Authorise => "authorised",
            Self::Approve => "approved",
            Self::Reject => "rejected",
        }
    }

    /// The right it takes.
    #[must_use]
    pub fn right(self) -> Right {
        match self {
            Self::Authorise => Right::AuthoriseBudgets,
            Self::Approve | Self::Reject => Right::ApproveBudgets,
        }
    }

    fn action(self) -> &'static str {
        match self {
            Self::Authorise => "budget.authorise",
            Self::Approve => "budget.approve",
            Self::Reject => "budget.reject",
        }
    }
}

/// Asks for an amount, or decides what was asked for. Returns the number of the request.
pub fn order(app: &App, order: &BudgetOrder, actor: &Actor, act: Act) -> AppResult<i64> {
    app.store.transaction(|connection| order_in(connection, order, None, actor, act))
}

/// The same in a transaction; of the requests of one amount the one with this number, where it is known.
fn order_in(
    connection: &mut Connection,
    order: &BudgetOrder,
    request: Option<i64>,
    actor: &Actor,
    act: Act,
) -> AppResult<i64> {
    let by = actor.name.as_str();
    staff::require(connection, by, act.right(), Some(&order.service))?;
    let found = incidents::find(connection, &order.incident)?;
    let service_key = found.service_key(&order.service)?;
    // A policy may have given the asset a scale of its own; then that one counts.
    let known = ledger::assets(connection)?.into_iter().find(|asset| asset.code == order.asset.as_str());
    let scale = match &known {
        Some(asset) => u8::try_from(asset.scale).map_err(StoreError::corrupt)?,
        None => order.asset.default_scale(),
    };
    let asset = Asset::with_scale(order.asset.clone(), scale).map_err(|e| AppError::Usage(e.to_string()))?;
    let amount = Amount::from_decimal(order.amount, scale)
        .map_err(|error| AppError::Usage(format!("--amount: {error}")))?
        .minor();
    if amount <= 0 {
        return Err(AppError::Usage("--amount must be more than 0".into()));
    }
    let asset_key = ledger::ensure_asset(connection, &asset)?;
    let budget = ledger::ensure_budget(
        connection,
        (found.key, &order.incident),
        (service_key, &order.service),
        (asset_key, &order.asset),
    )?;
    let entry = actor.entry(
        act.action(),
        format!("budget {}/{}/{}", order.incident, order.service, order.asset),
        serde_json::json!({ "amount": order.amount.to_string() }),
    );
    let request = match act {
        Act::Authorise => ledger::request_budget(connection, budget.key, amount, by, entry.at),
        Act::Approve => ledger::approve_budget(connection, &budget, request, amount, by, entry.at),
        Act::Reject => ledger::reject_budget(connection, &budget, request, amount, by, entry.at),
    };
    let request = request.map_err(|error| match error {
        StoreError::NotFound(_) => AppError::Refused(format!(
            "nobody has authorised {} {} for {} in {}, or it was decided: redress budget authorise … first",
            order.amount, order.asset, order.service, order.incident
        )),
        other => other.into(),
    })?;
    // What changes is the state of the request; the figures that follow from it are the ledger's.
    let state = |state| serde_json::json!({ "request": request, "minor": amount, "state": state });
    let entry = match act {
        Act::Authorise => entry.after(&state("authorised")),
        Act::Approve => entry.before(&state("authorised")).after(&state("approved")),
        Act::Reject => entry.before(&state("authorised")).after(&state("rejected")),
    };
    audit::append(connection, &[entry])?;
    Ok(request)
}

/// Asks for an amount once per key, and answers with the request.
pub fn authorise_once(app: &App, order: &BudgetOrder, once: &Once, actor: &Actor) -> AppResult<Done> {
    once::run(app, once, |connection, _| {
        let id = order_in(connection, order, None, actor, Act::Authorise)?;
        Ok(RequestView::from(budgets::request(connection, id)?))
    })
}

/// Decides a request by its number.
pub fn decide(app: &App, id: i64, act: Act, actor: &Actor) -> AppResult<RequestView> {
    app.store.transaction(|connection| {
        let asked = budgets::request(connection, id)?;
        let order = BudgetOrder {
            incident: IncidentId::parse(&asked.incident).map_err(StoreError::corrupt)?,
            service: ServiceId::parse(&asked.service).map_err(StoreError::corrupt)?,
            asset: AssetCode::parse(&asked.asset).map_err(StoreError::corrupt)?,
            amount: scaled(Decimal::from(asked.amount), asked.scale),
        };
        // Whoever may not decide it does not learn what became of it either.
        staff::require(connection, &actor.name, act.right(), Some(&order.service))?;
        if asked.approved_by.is_some() || asked.rejected_by.is_some() {
            return Err(AppError::Refused(format!("request {id} was decided before; nothing was changed")));
        }
        order_in(connection, &order, Some(id), actor, act)?;
        Ok(RequestView::from(budgets::request(connection, id)?))
    })
}

/// The most requests that are listed.
const MAX_REQUESTS: i64 = 500;

/// Budgets and what is asked for. Amounts are in the asset's unit.
#[derive(Debug, Serialize, ToSchema)]
pub struct BudgetsView {
    /// By service and asset.
    pub budgets: Vec<BudgetView>,
    /// The newest requests.
    pub requests: Vec<RequestView>,
}

/// A budget.
#[derive(Debug, Serialize, ToSchema)]
pub struct BudgetView {
    /// The service.
    pub service: String,
    /// The asset.
    pub asset: String,
    /// Approved.
    pub approved: String,
    /// Issued, less what was reversed.
    pub issued: String,
    /// Left.
    pub left: String,
}

/// An amount that somebody asked for.
#[derive(Debug, Serialize, ToSchema)]
pub struct RequestView {
    /// Its number.
    pub id: i64,
    /// The incident.
    pub incident: String,
    /// The service.
    pub service: String,
    /// The asset.
    pub asset: String,
    /// How much.
    pub amount: String,
    /// `authorised`, `approved` or `rejected`.
    pub state: &'static str,
    /// Who asked.
    pub authorised_by: String,
    /// When.
    pub authorised_at: DateTime<Utc>,
    /// Who decided it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
}

impl From<RequestRow> for RequestView {
    fn from(row: RequestRow) -> Self {
        let state = match (&row.approved_by, &row.rejected_by) {
            (Some(_), _) => "approved",
            (None, Some(_)) => "rejected",
            (None, None) => "authorised",
        };
        Self {
            amount: figure(Decimal::from(row.amount), row.scale),
            id: row.id,
            incident: row.incident,
            service: row.service,
            asset: row.asset,
            state,
            authorised_by: row.authorised_by,
            authorised_at: row.authorised_at,
            decided_by: row.approved_by.or(row.rejected_by),
        }
    }
}

/// The budgets of an incident and what is asked for.
pub fn list(app: &App, incident: &IncidentId) -> AppResult<BudgetsView> {
    app.store.with(|connection| {
        let key = incidents::find(connection, incident)?.key;
        let budgets = ledger::budget_views(connection, key)?.into_iter().map(|row| {
            let shown = |minor: i64| figure(Decimal::from(minor), row.scale);
            BudgetView {
                approved: shown(row.approved),
                issued: shown(row.spent),
                left: shown(row.approved - row.spent),
                service: row.service,
                asset: row.asset,
            }
        });
        let budgets = budgets.collect();
        let requests = budgets::of_incident(connection, key, MAX_REQUESTS)?;
        Ok(BudgetsView { budgets, requests: requests.into_iter().map(RequestView::from).collect() })
    })
}

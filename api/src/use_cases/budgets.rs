//! Budgets: one person authorises an amount, another approves it, and only then it can be issued. What was rejected can
//! never be approved.

use redress_domain::id::{IncidentId, ServiceId};
use redress_domain::{Amount, Asset, AssetCode};
use redress_store::{StoreError, audit, incidents, ledger};
use rust_decimal::Decimal;

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

    fn right(self) -> Right {
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
pub fn order(app: &App, order: &BudgetOrder, by: &str, actor: &Actor, act: Act) -> AppResult<i64> {
    app.store.transaction(|connection| {
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
            Act::Approve => ledger::approve_budget(connection, &budget, amount, by, entry.at),
            Act::Reject => ledger::reject_budget(connection, &budget, amount, by, entry.at),
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
    })
}

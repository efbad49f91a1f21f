//! A customer's credits as people see them.

use chrono::{DateTime, NaiveDate, Utc};
use redress_domain::id::CustomerId;
use redress_domain::ledger::TransferCode;
use redress_store::credits::{self, StoredCredit};
use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::error::AppResult;
use crate::use_cases::reports::figure;

/// A credit and what happened to it. Amounts are in the asset's unit.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreditView {
    /// Its id.
    pub id: Uuid,
    /// The incident.
    pub incident: String,
    /// The service.
    pub service: String,
    /// The policy that granted it.
    pub policy: String,
    /// What it is for.
    pub subject: String,
    /// The asset.
    pub asset: String,
    /// Issued.
    pub amount: String,
    /// Still owed.
    pub owed: String,
    /// `owed`, `partly_owed`, or when nothing is owed any more what became of most of it: `delivered`, `expired`,
    /// `reversed` or `written_off`.
    pub state: &'static str,
    /// When it was issued.
    pub issued_at: DateTime<Utc>,
    /// What happened to it, oldest first.
    pub movements: Vec<MovementView>,
}

/// Something that happened to a credit.
#[derive(Debug, Serialize, ToSchema)]
pub struct MovementView {
    /// The transfer, which a reversal can name.
    pub transfer: Uuid,
    /// `deliver`, `expire`, `write-off` or `reverse`.
    pub what: &'static str,
    /// How much.
    pub amount: String,
    /// What it reverses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reverses: Option<Uuid>,
    /// From when it counts.
    pub effective_on: NaiveDate,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The credits of a customer, oldest first; empty when nothing was ever issued.
pub fn list(app: &App, customer: &CustomerId, after: Option<Uuid>, limit: i64) -> AppResult<Vec<CreditView>> {
    let rows = app.store.with(|connection| credits::of_customer(connection, customer.as_str(), after, limit))?;
    Ok(rows.iter().map(view).collect())
}

fn view(stored: &StoredCredit) -> CreditView {
    let unit = |minor: i64| figure(Decimal::from(minor), stored.row.scale);
    CreditView {
        id: stored.row.id,
        incident: stored.row.incident.clone(),
        service: stored.row.service.clone(),
        policy: stored.row.policy.clone(),
        subject: stored.row.subject.clone(),
        asset: stored.row.asset.clone(),
        amount: unit(stored.row.amount),
        owed: unit(stored.credit.owed().minor()),
        state: state(stored),
        issued_at: stored.row.recorded_at,
        movements: stored
            .movements
            .iter()
            .zip(stored.credit.movements())
            .map(|(row, movement)| MovementView {
                transfer: row.transfer_id,
                what: movement.code.as_str(),
                amount: unit(row.amount),
                reverses: row.original_id,
                effective_on: row.effective_on,
                reason: row.reason.clone(),
            })
            .collect(),
    }
}

fn state(stored: &StoredCredit) -> &'static str {
    let owed = stored.credit.owed();
    if owed == stored.credit.issued() {
        return "owed";
    }
    if owed.minor() > 0 {
        return "partly_owed";
    }
    // What left is counted where it went, less what came back from there.
    let gone = |code: TransferCode| -> i64 {
        let movements = stored.credit.movements();
        let moved = movements.iter().filter(|movement| match movement.original {
            None => movement.code == code,
            Some(original) => code == TransferCode::Reverse && original == stored.credit.id(),
        });
        let back = movements.iter().filter(|movement| {
            movement
                .original
                .is_some_and(|original| movements.iter().any(|other| other.transfer == original && other.code == code))
        });
        moved.map(|movement| movement.amount.minor()).sum::<i64>()
            - back.map(|movement| movement.amount.minor()).sum::<i64>()
    };
    let parts = [
        ("delivered", gone(TransferCode::Deliver)),
        ("reversed", gone(TransferCode::Reverse)),
        ("expired", gone(TransferCode::Expire)),
        ("written_off", gone(TransferCode::WriteOff)),
    ];
    parts.into_iter().max_by_key(|(_, amount)| *amount).map_or("owed", |(name, _)| name)
}

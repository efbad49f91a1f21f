//! What a service is told of a batch: the same bytes at every attempt, since they follow from what the books say of one
//! instant.

use redress_domain::credit::next_delivery;
use redress_domain::id::{CustomerId, TransferId};
use redress_domain::log::documents::spell;
use redress_store::StoreError;
use redress_store::deliveries::{self, DueCredit, Leased};
use rust_decimal::Decimal;
use serde::Serialize;
use uuid::Uuid;

use crate::app::App;
use crate::error::AppResult;
use crate::use_cases::credits::Leaving;
use crate::use_cases::reports::{figure, scaled};

/// The event that a service is told.
pub(super) const EVENT: &str = "credits.deliver";

#[derive(Serialize)]
struct Document<'a> {
    r#type: &'static str,
    timestamp: String,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    delivery: Uuid,
    credits: Vec<Told<'a>>,
}

#[derive(Serialize)]
struct Told<'a> {
    id: Uuid,
    customer: &'a str,
    incident: &'a str,
    policy: &'a str,
    asset: &'a str,
    amount: String,
    attempt: u16,
    subject: &'a str,
}

/// A credit of a batch.
pub(super) struct Member {
    credit: DueCredit,
    attempt: u16,
}

impl Member {
    pub(super) fn id(&self) -> Uuid {
        self.credit.id
    }

    /// Whether it has its answer already.
    pub(super) fn is_answered(&self) -> bool {
        self.credit.answered
    }

    /// Its movement in the ledger once it is granted: so much of it, or all that the service was told of.
    pub(super) fn leaving(&self, amount: Option<Decimal>) -> AppResult<Leaving> {
        let all = scaled(Decimal::from(self.credit.owed), self.credit.scale);
        Ok(Leaving {
            customer: CustomerId::parse(&self.credit.customer_id).map_err(StoreError::corrupt)?,
            credit: TransferId(self.credit.id),
            amount: Some(amount.unwrap_or(all)),
            attempt: self.attempt,
            on: None,
        })
    }
}

/// A leased batch with its credits.
pub(super) struct Content {
    leased: Leased,
    members: Vec<Member>,
}

impl Content {
    /// Reads the credits of a batch.
    pub(super) fn load(app: &App, leased: &Leased) -> AppResult<Self> {
        let credits = app.store.with(|connection| deliveries::content(connection, &leased.row, leased.as_of))?;
        let member = |credit: DueCredit| {
            let delivered: Vec<TransferId> = credit.delivered.iter().copied().map(TransferId).collect();
            let attempt = next_delivery(TransferId(credit.id), &delivered)
                .ok_or_else(|| StoreError::corrupt(format!("credit {} was delivered too often", credit.id)))?;
            Ok(Member { credit, attempt })
        };
        Ok(Self { leased: leased.clone(), members: credits.into_iter().map(member).collect::<AppResult<_>>()? })
    }

    pub(super) fn id(&self) -> Uuid {
        self.leased.row.id
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    /// Whether nothing is left to be told.
    pub(super) fn is_answered(&self) -> bool {
        self.members.iter().all(Member::is_answered)
    }

    /// What is sent, byte for byte.
    pub(super) fn body(&self) -> AppResult<Vec<u8>> {
        let credits = self
            .members
            .iter()
            .map(|Member { credit, attempt }| Told {
                id: credit.id,
                customer: &credit.customer_id,
                incident: &credit.incident,
                policy: &credit.policy,
                asset: &credit.asset,
                amount: figure(Decimal::from(credit.owed), credit.scale),
                attempt: *attempt,
                subject: &credit.subject,
            })
            .collect();
        let data = Data { delivery: self.id(), credits };
        let document = Document { r#type: EVENT, timestamp: spell(self.leased.as_of), data };
        Ok(serde_json::to_vec(&document).map_err(StoreError::corrupt)?)
    }
}

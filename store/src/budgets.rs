//! What is asked for of budgets: an amount, or to give back what is left of one. It counts once a second person approves
//! it, and is a transfer then.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::Bool;
use redress_domain::ledger::TransferCode;
use uuid::Uuid;

use crate::connection::Connection;
use crate::error::{StoreError, StoreResult};
use crate::ledger::{BudgetRow, NO_POLICY, TransferRow, open_posting, record};
use crate::schema::{asset, budget, budget_request, incident, service};
use crate::word::Word;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// An amount that may be issued.
    Authorise,
    /// To give back what is left.
    Release,
}

impl RequestKind {
    /// Its name in storage and in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Authorise => "authorise",
            Self::Release => "release",
        }
    }

    /// The kind of a stored name.
    pub fn of(name: &str) -> StoreResult<Self> {
        let known = [Self::Authorise, Self::Release].into_iter().find(|kind| kind.as_str() == name);
        known.ok_or_else(|| StoreError::corrupt(format!("a budget request is for {name:?}")))
    }

    fn code(self) -> TransferCode {
        match self {
            Self::Authorise => TransferCode::Authorise,
            Self::Release => TransferCode::Release,
        }
    }
}

/// Which open request is decided: of this budget, kind and amount, and with this number where it is known.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The budget.
    pub budget: &'a BudgetRow,
    /// What it is for.
    pub kind: RequestKind,
    /// Minor units.
    pub amount: i64,
    /// Its number; the oldest when none.
    pub number: Option<i64>,
}

/// Asks for an amount, or to give it back; it counts once a second person approves it.
pub fn ask(connection: &mut Connection, asked: &Asked<'_>, by: &str, at: DateTime<Utc>) -> StoreResult<i64> {
    Ok(diesel::insert_into(budget_request::table)
        .values((
            budget_request::budget_id.eq(asked.budget.key),
            budget_request::kind.eq(asked.kind.as_str()),
            budget_request::amount.eq(asked.amount),
            budget_request::authorised_by.eq(by),
            budget_request::authorised_at.eq(at),
        ))
        .returning(budget_request::id)
        .get_result(connection)?)
}

/// Approves an open request and records it in the ledger. The database refuses whoever asked for it, and to give back
/// more than is left: whoever takes from the budget at the same moment holds its row, or waits for it.
pub fn approve(connection: &mut Connection, asked: &Asked<'_>, by: &str, at: DateTime<Utc>) -> StoreResult<i64> {
    let (row, amount) = (asked.budget, asked.amount);
    let request = take_open(connection, asked, by)?;
    diesel::update(budget_request::table.find(request))
        .set((budget_request::approved_by.eq(by), budget_request::approved_at.eq(at)))
        .execute(connection)?;
    let (change, debit_account, credit_account) = match asked.kind {
        RequestKind::Authorise => (amount, row.expense_account, row.provision_account),
        RequestKind::Release => (-amount, row.provision_account, row.expense_account),
    };
    diesel::update(budget::table.find(row.key))
        .set(budget::approved.eq(budget::approved + change))
        .execute(connection)?;
    let posting = open_posting(connection, None)?;
    let transfer = TransferRow {
        customer_id: Word::default(),
        id: transfer_id(request),
        posting_id: posting.id(),
        amount,
        debit_account,
        credit_account,
        asset_id: row.asset_key,
        policy_version_id: NO_POLICY,
        code: asked.kind.code().number(),
        subject: format!("budget-request/{request}").into(),
    };
    record(connection, &[transfer])?;
    posting.seal(connection)?;
    Ok(request)
}

/// Rejects an open request; it can never be approved from then on.
pub fn reject(connection: &mut Connection, asked: &Asked<'_>, by: &str, at: DateTime<Utc>) -> StoreResult<i64> {
    let request = take_open(connection, asked, by)?;
    diesel::update(budget_request::table.find(request))
        .set((budget_request::rejected_by.eq(by), budget_request::rejected_at.eq(at)))
        .execute(connection)?;
    Ok(request)
}

/// The other open requests for the same amount of the same budget, the oldest first.
pub fn same_open(connection: &mut Connection, request: i64) -> StoreResult<Vec<i64>> {
    let (budget_id, kind, amount): (i32, String, i64) = budget_request::table
        .find(request)
        .select((budget_request::budget_id, budget_request::kind, budget_request::amount))
        .first(connection)?;
    Ok(budget_request::table
        .filter(budget_request::budget_id.eq(budget_id).and(budget_request::kind.eq(kind)))
        .filter(budget_request::amount.eq(amount).and(budget_request::id.ne(request)))
        .filter(budget_request::approved_at.is_null().and(budget_request::rejected_at.is_null()))
        .order(budget_request::id)
        .select(budget_request::id)
        .load(connection)?)
}

/// The request that nobody decided, held until the transaction ends.
fn take_open(connection: &mut Connection, asked: &Asked<'_>, by: &str) -> StoreResult<i64> {
    budget_request::table
        .filter(budget_request::id.nullable().eq(asked.number).or(asked.number.is_none().into_sql::<Bool>()))
        .filter(budget_request::budget_id.eq(asked.budget.key).and(budget_request::amount.eq(asked.amount)))
        .filter(budget_request::kind.eq(asked.kind.as_str()))
        .filter(budget_request::approved_at.is_null().and(budget_request::rejected_at.is_null()))
        // Another person's first: one's own may stand beside it, and only that one cannot be approved.
        .order((budget_request::authorised_by.eq(by), budget_request::id))
        .select(budget_request::id)
        .for_update()
        .first(connection)
        .optional()?
        .ok_or_else(|| StoreError::NotFound("open budget request of this amount".into()))
}

/// A budget request is recorded once: its transfer's id is its own number.
fn transfer_id(request: i64) -> Uuid {
    uuid::Builder::from_custom_bytes({
        let mut bytes = [0_u8; 16];
        bytes[..6].copy_from_slice(b"budget");
        bytes[8..].copy_from_slice(&request.to_be_bytes());
        bytes
    })
    .into_uuid()
}

/// A request with the names that it speaks in.
#[derive(Debug, Clone, Queryable)]
pub struct RequestRow {
    /// Its number.
    pub id: i64,
    /// The incident.
    pub incident: String,
    /// The service.
    pub service: String,
    /// The asset.
    pub asset: String,
    /// Its minor digits.
    pub scale: i16,
    /// What it is for: `authorise` or `release`.
    pub kind: String,
    /// Minor units.
    pub amount: i64,
    /// Who asked.
    pub authorised_by: String,
    /// When.
    pub authorised_at: DateTime<Utc>,
    /// Who approved it.
    pub approved_by: Option<String>,
    /// Who rejected it.
    pub rejected_by: Option<String>,
}

#[diesel::dsl::auto_type]
fn requests() -> _ {
    budget_request::table
        .inner_join(budget::table.on(budget::id.eq(budget_request::budget_id)))
        .inner_join(incident::table.on(incident::id.eq(budget::incident_id)))
        .inner_join(service::table.on(service::id.eq(budget::service_id)))
        .inner_join(asset::table.on(asset::id.eq(budget::asset_id)))
        .select((
            budget_request::id,
            incident::name,
            service::name,
            asset::code,
            asset::scale,
            budget_request::kind,
            budget_request::amount,
            budget_request::authorised_by,
            budget_request::authorised_at,
            budget_request::approved_by,
            budget_request::rejected_by,
        ))
}

/// The requests of an incident, newest first.
pub fn of_incident(connection: &mut Connection, incident_key: i32, limit: i64) -> StoreResult<Vec<RequestRow>> {
    let newest = requests().filter(budget::incident_id.eq(incident_key)).order(budget_request::id.desc()).limit(limit);
    Ok(newest.load(connection)?)
}

/// A request by its number.
pub fn request(connection: &mut Connection, id: i64) -> StoreResult<RequestRow> {
    let found = requests().filter(budget_request::id.eq(id)).first(connection).optional()?;
    found.ok_or_else(|| StoreError::NotFound(format!("budget request {id}")))
}

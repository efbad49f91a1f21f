//! Whom runs set aside: a person looks at each, so each is named.

use redress_store::run_exceptions;
use redress_store::run_lifecycle;
use redress_store::runs::ExceptionRow;
use serde::Serialize;
use utoipa::ToSchema;

use super::ledger::no_cursor;
use crate::app::App;
use crate::error::AppResult;

/// How many a page has unless said.
pub const PAGE: i64 = 100;
/// The most that a page has.
pub const MAX_PAGE: i64 = 500;

/// A subject that a run set aside.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExceptionView {
    /// Whose it is.
    pub customer: String,
    /// The policy that was applied; none where nothing of the customer could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The content hash of its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What it was applied to: a holding's reference or a claim's id.
    #[schema(example = "holding/sub-1")]
    pub subject: String,
    /// Why a person has to look at it.
    pub reason: String,
}

/// A page of what a run set aside.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExceptionPage {
    /// By customer.
    pub exceptions: Vec<ExceptionView>,
    /// What `cursor` takes for the next page; none on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A page of what a run set aside, after the one that ended with the cursor.
pub fn page(app: &App, run: i64, cursor: Option<&str>, limit: i64) -> AppResult<ExceptionPage> {
    let place = cursor.map(read_cursor).transpose()?;
    let after = place.as_ref().map(|(customer, version, subject)| (customer.as_str(), *version, subject.as_str()));
    let rows = app.store.with(|connection| -> AppResult<_> {
        run_lifecycle::find(connection, run)?;
        Ok(run_exceptions::page(connection, run, after, limit)?)
    })?;
    let is_full = i64::try_from(rows.len()).is_ok_and(|found| found == limit);
    let next = rows.last().filter(|_| is_full).map(|(row, ..)| write_cursor(row));
    let exceptions = rows
        .into_iter()
        .map(|(row, policy, version)| {
            let ExceptionRow { customer_id: customer, subject, reason, .. } = row;
            ExceptionView { customer, policy, version, subject, reason }
        })
        .collect();
    Ok(ExceptionPage { exceptions, next })
}

/// Where a page ended, as a text that means nothing to anybody else: no customer stands in a URL.
fn write_cursor(row: &ExceptionRow) -> String {
    let place = (&row.customer_id, row.policy_version_id, &row.subject);
    hex::encode(serde_json::json!(place).to_string())
}

fn read_cursor(text: &str) -> AppResult<(String, i32, String)> {
    let read = || {
        let place: (String, i32, String) = serde_json::from_slice(&hex::decode(text).ok()?).ok()?;
        (!place.0.contains('\0') && !place.2.contains('\0')).then_some(place)
    };
    read().ok_or_else(no_cursor)
}

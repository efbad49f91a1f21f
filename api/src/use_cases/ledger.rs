//! Questions to the ledger: balances at an instant, and every transfer in a file.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;

use chrono::{DateTime, SecondsFormat, Utc};
use redress_domain::id::CustomerId;
use redress_domain::ledger::TransferCode;
use redress_store::export::{self, ExportRow};
use redress_store::{StoreError, balances, ledger};
use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::reports::figure;
use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::spreadsheet::defused;

/// The balances of a group of accounts at an instant. Amounts are in the asset's unit.
#[derive(Debug, Serialize, ToSchema)]
pub struct Balances {
    /// The instant: asked for it again, the answer is the same for ever.
    pub at: DateTime<Utc>,
    /// By account.
    pub balances: Vec<AccountBalance>,
    /// The group's sum in each asset.
    pub totals: Vec<Total>,
}

/// A balance.
#[derive(Debug, Serialize, ToSchema)]
pub struct AccountBalance {
    /// The account.
    pub account: String,
    /// Its kind.
    pub kind: String,
    /// The asset.
    pub asset: String,
    /// What it received less what it gave.
    pub balance: String,
}

/// The sum of a group in one asset.
#[derive(Debug, Serialize, ToSchema)]
pub struct Total {
    /// The asset.
    pub asset: String,
    /// How many accounts.
    pub accounts: usize,
    /// The sum.
    pub balance: String,
}

/// The balances of an account and of all below it, at `at` or at this moment. They are consistent while the batch runs:
/// all of a posting counts, or none of it.
pub fn balance(app: &App, group: &str, at: Option<DateTime<Utc>>) -> AppResult<Balances> {
    app.store.with(|connection| {
        let settled = ledger::settle(connection)?;
        let at = settled_instant(at, settled)?;
        let rows = balances::of_group(connection, group, at)?;
        if rows.is_empty() {
            return Err(AppError::Refused(format!(
                "no account is named {group:?} and none stands below it; redress ledger balance '' lists all"
            )));
        }
        let mut sums: BTreeMap<&str, (i16, usize, Decimal)> = BTreeMap::new();
        for row in &rows {
            let (_, accounts, sum) = sums.entry(&row.asset).or_insert((row.scale, 0, Decimal::ZERO));
            *accounts += 1;
            *sum = sum.checked_add(row.minor).ok_or_else(|| {
                StoreError::corrupt(format!("the sum of {} is beyond what can be counted", row.asset))
            })?;
        }
        let totals = sums
            .into_iter()
            .map(|(asset, (scale, accounts, sum))| Total {
                asset: asset.to_owned(),
                accounts,
                balance: figure(sum, scale),
            })
            .collect();
        let balances = rows
            .into_iter()
            .map(|row| AccountBalance {
                balance: figure(row.minor, row.scale),
                account: row.account,
                kind: row.kind,
                asset: row.asset,
            })
            .collect();
        Ok(Balances { at, balances, totals })
    })
}

/// The instant that is asked for; refused when its answer could still change.
pub fn settled_instant(at: Option<DateTime<Utc>>, settled: DateTime<Utc>) -> AppResult<DateTime<Utc>> {
    match at {
        Some(at) if at > settled => {
            Err(AppError::Usage("--at lies in the future: its answer could still change".into()))
        }
        at => Ok(at.unwrap_or(settled)),
    }
}

/// How an export is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// With one heading.
    Csv,
    /// One JSON object a line.
    Ndjson,
}

/// A transfer as it is exported.
#[derive(Serialize, ToSchema)]
pub struct Exported<'a> {
    /// When it was recorded.
    recorded_at: String,
    /// The posting that recorded it.
    posting: i64,
    /// The run, if a run did it.
    run: Option<i64>,
    /// Whose account it touches; empty where no customer's is.
    customer: Cow<'a, str>,
    /// Its id.
    transfer: String,
    /// What it does.
    code: &'static str,
    /// The account that gives.
    debit: &'a str,
    /// The account that receives.
    credit: &'a str,
    /// The asset.
    asset: &'a str,
    /// How much, in the asset's unit.
    amount: String,
    /// The policy, if it follows from one.
    policy: Option<&'a str>,
    /// The content hash of its version.
    policy_version: Option<&'a str>,
    /// What it is for.
    subject: Cow<'a, str>,
    /// The credit it moves, unless it is one.
    of_credit: Option<String>,
    /// The transfer it reverses.
    reverses: Option<String>,
    /// From when it counts for people.
    effective_on: Option<String>,
    /// Why, if that was said.
    reason: Option<&'a str>,
}

/// Writes every transfer recorded until `at`, by customer and id, and returns how many. Only a page is held in memory.
pub fn export(app: &App, layout: Layout, at: Option<DateTime<Utc>>, out: &mut impl Write) -> AppResult<u64> {
    app.store.with(|connection| {
        let settled = ledger::settle(connection)?;
        let at = settled_instant(at, settled)?;
        let mut count = 0;
        match layout {
            Layout::Csv => {
                let mut writer = csv::Writer::from_writer(&mut *out);
                export::transfers(connection, at, |row| -> AppResult<()> {
                    count += 1;
                    writer.serialize(for_spreadsheets(row)?).map_err(|error| match error.into_kind() {
                        // A reader that went away is told from a full disk by its kind.
                        csv::ErrorKind::Io(error) => AppError::io("writing the export")(error),
                        other => AppError::io("writing the export")(std::io::Error::other(format!("{other:?}"))),
                    })
                })?;
                writer.flush().map_err(AppError::io("writing the export"))?;
            }
            Layout::Ndjson => {
                export::transfers(connection, at, |row| -> AppResult<()> {
                    count += 1;
                    serde_json::to_writer(&mut *out, &exported(row)?)
                        .map_err(|error| AppError::io("writing the export")(error.into()))?;
                    out.write_all(b"\n").map_err(AppError::io("writing the export"))
                })?;
            }
        }
        out.flush().map_err(AppError::io("writing the export"))?;
        Ok(count)
    })
}

/// The most transfers of a page.
pub const MAX_PAGE: i64 = 500;
/// How many a page has unless asked otherwise.
pub const PAGE: i64 = 100;

/// A page of transfers.
#[derive(Serialize, ToSchema)]
pub struct TransferPage {
    /// What was recorded until then is shown; the next pages keep to it.
    pub at: DateTime<Utc>,
    /// By customer and id.
    #[schema(value_type = Vec<Exported<'static>>)]
    pub transfers: Vec<serde_json::Value>,
    /// Where the next page begins; none on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A page of the transfers of one instant: what is recorded meanwhile does not shift the pages.
pub fn page(app: &App, cursor: Option<&str>, limit: i64, at: Option<DateTime<Utc>>) -> AppResult<TransferPage> {
    let place = cursor.map(read_cursor).transpose()?;
    app.store.with(|connection| {
        let settled = ledger::settle(connection)?;
        let (at, after) = match place {
            // A page was never of an instant to come.
            Some((at, _, _)) if at > settled => return Err(no_cursor()),
            Some((at, customer, id)) => (at, Some((customer, id))),
            None => (settled_instant(at, settled)?, None),
        };
        let rows = export::page(connection, at, after.as_ref(), limit)?;
        let next = rows
            .last()
            .filter(|_| i64::try_from(rows.len()).is_ok_and(|found| found == limit))
            .map(|row| write_cursor(at, row));
        let transfers = rows
            .iter()
            .map(|row| Ok(serde_json::to_value(exported(row)?).map_err(StoreError::corrupt)?))
            .collect::<AppResult<_>>()?;
        Ok(TransferPage { at, transfers, next })
    })
}

/// Where a page ended, as a text that means nothing to anybody else.
fn write_cursor(at: DateTime<Utc>, row: &ExportRow) -> String {
    hex::encode(format!("{}/{}/{}", at.timestamp_micros(), row.id, row.customer_id))
}

fn read_cursor(text: &str) -> AppResult<(DateTime<Utc>, String, Uuid)> {
    let read = || {
        let text = String::from_utf8(hex::decode(text).ok()?).ok()?;
        let mut parts = text.splitn(3, '/');
        let at = DateTime::from_timestamp_micros(parts.next()?.parse().ok()?)?;
        let id = Uuid::parse_str(parts.next()?).ok()?;
        let customer = CustomerId::parse(parts.next()?).ok()?;
        Some((at, customer.to_string(), id))
    };
    read().ok_or_else(no_cursor)
}

/// Why a text that should say where a page ended cannot be used.
pub(super) fn no_cursor() -> AppError {
    AppError::Field("/cursor".into(), "is not one that an earlier page gave".into())
}

/// A transfer whose cells are no formulas: the operator's own texts are the only ones that could be.
fn for_spreadsheets(row: &ExportRow) -> AppResult<Exported<'_>> {
    Ok(Exported { customer: defused(&row.customer_id), subject: defused(&row.subject), ..exported(row)? })
}

fn exported(row: &ExportRow) -> AppResult<Exported<'_>> {
    let code = TransferCode::from_number(row.code)
        .ok_or_else(|| StoreError::corrupt(format!("transfer {} has code {}", row.id, row.code)))?;
    Ok(Exported {
        recorded_at: row.recorded_at.to_rfc3339_opts(SecondsFormat::Micros, true),
        posting: row.posting_id,
        run: row.run_id,
        customer: row.customer_id.as_str().into(),
        transfer: row.id.to_string(),
        code: code.as_str(),
        debit: &row.debit,
        credit: &row.credit,
        asset: &row.asset,
        amount: figure(Decimal::from(row.amount), row.scale),
        policy: row.policy.as_deref(),
        policy_version: row.policy_version.as_deref(),
        subject: row.subject.as_str().into(),
        of_credit: row.credit_id.map(|id| id.to_string()),
        reverses: row.original_id.map(|id| id.to_string()),
        effective_on: row.effective_on.map(|date| date.to_string()),
        reason: row.reason.as_deref(),
    })
}

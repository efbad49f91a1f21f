//! Balances at an instant. They are read from the totals of the postings, so that a question costs the same whether a
//! posting had one transfer or five thousand; and an answer for an instant never changes later.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Numeric, SmallInt, Text, Timestamptz};
use redress_domain::ledger::EXPENSE_BY_POLICY;

use crate::connection::Connection;
use crate::error::StoreResult;

/// A balance of an account: what it received less what it gave.
#[derive(Debug, Clone, QueryableByName)]
pub struct Balance {
    /// The account's name.
    #[diesel(sql_type = Text)]
    pub account: String,
    /// The account's kind.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// The asset's code.
    #[diesel(sql_type = Text)]
    pub asset: String,
    /// The asset's minor digits.
    #[diesel(sql_type = SmallInt)]
    pub scale: i16,
    /// Minor units, exact beyond 64 bits.
    #[diesel(sql_type = Numeric)]
    pub minor: rust_decimal::Decimal,
}

/// The balances of the account of this name and of all below it, as they stood at `at`, by name. `owed` and `owed/` are
/// the same group, and so is `owed/day:`; an empty name is every account.
///
/// `at` must not lie after what [`crate::ledger::settle`] answers, or postings under way could still change the answer.
pub fn of_group(connection: &mut Connection, group: &str, at: DateTime<Utc>) -> StoreResult<Vec<Balance>> {
    let query = if group.split('/').next() == Some(EXPENSE_BY_POLICY) { BY_POLICY } else { BY_ACCOUNT };
    // Diesel has no words for this union and its filters.
    Ok(diesel::sql_query(format!(
        "{query} WHERE $1 = '' OR account = $1 OR starts_with(account, rtrim($1, '/') || '/')
                 OR (right($1, 1) = ':' AND starts_with(account, $1)) ORDER BY account"
    ))
    .bind::<Text, _>(group)
    .bind::<Timestamptz, _>(at)
    .load(connection)?)
}

const BY_ACCOUNT: &str = "
    SELECT * FROM (
        SELECT account.name AS account, account.kind, asset.code AS asset, asset.scale,
               coalesce(sum(moved.amount), 0) AS minor
        FROM account JOIN asset ON asset.id = account.asset_id
        LEFT JOIN (
            SELECT side.account_id, side.amount
            FROM posting JOIN posting_total AS total ON total.posting_id = posting.id
            CROSS JOIN LATERAL (VALUES (total.credit_account, total.amount), (total.debit_account, -total.amount))
                AS side (account_id, amount)
            WHERE posting.recorded_at <= $2
        ) AS moved ON moved.account_id = account.id
        GROUP BY account.name, account.kind, asset.code, asset.scale
    ) AS balance";

/// Expense by policy: what its credits took out of provisions, less what reversals put back; below zero, as expense is.
const BY_POLICY: &str = "
    SELECT * FROM (
        SELECT format('expense-by-policy/%s/%s/%s', incident.name, policy.name, asset.code) AS account,
               'expense' AS kind, asset.code AS asset, asset.scale,
               sum(CASE WHEN debit.kind = 'provision' THEN -total.amount ELSE total.amount END) AS minor
        FROM posting JOIN posting_total AS total ON total.posting_id = posting.id
        JOIN account AS debit ON debit.id = total.debit_account
        JOIN account AS credit ON credit.id = total.credit_account
        JOIN asset ON asset.id = debit.asset_id
        JOIN policy_version ON policy_version.id = total.policy_version_id
        JOIN policy ON policy.id = policy_version.policy_id
        JOIN incident ON incident.id = policy.incident_id
        WHERE posting.recorded_at <= $2 AND (debit.kind = 'provision' OR credit.kind = 'provision')
        GROUP BY incident.name, policy.name, asset.code, asset.scale
    ) AS balance";

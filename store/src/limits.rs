//! How much of an asset is done without a second person: by a run, by a correction, by a decision.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::connection::Connection;
use crate::error::StoreResult;
use crate::schema::{asset, signature_limit};

/// What a limit is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limited {
    /// A run of the batch job.
    Run,
    /// The reversals and write-offs of one person within a day.
    Correction,
    /// A decision on a claim: how much weighs as much as the money that an agent decides alone.
    Decision,
}

impl Limited {
    /// Its name in storage.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Correction => "correction",
            Self::Decision => "decision",
        }
    }
}

/// A limit.
#[derive(Debug, Clone, Queryable)]
pub struct LimitRow {
    /// The asset's key.
    pub asset_key: i32,
    /// The asset's code.
    pub asset: String,
    /// Its minor digits.
    pub scale: i16,
    /// Minor units.
    pub most: i64,
    /// Who set it.
    pub set_by: String,
    /// When.
    pub set_at: DateTime<Utc>,
}

/// Every limit of a kind.
pub fn of(connection: &mut Connection, what: Limited) -> StoreResult<Vec<LimitRow>> {
    Ok(signature_limit::table
        .inner_join(asset::table.on(asset::id.eq(signature_limit::asset_id)))
        .filter(signature_limit::what.eq(what.as_str()))
        .order(asset::code)
        .select((
            asset::id,
            asset::code,
            asset::scale,
            signature_limit::most,
            signature_limit::set_by,
            signature_limit::set_at,
        ))
        .load(connection)?)
}

/// Sets the limit of an asset, or takes it away.
pub fn set(
    connection: &mut Connection,
    what: Limited,
    asset_key: i32,
    most: Option<i64>,
    by: &str,
    at: DateTime<Utc>,
) -> StoreResult<()> {
    let values =
        |most: i64| (signature_limit::most.eq(most), signature_limit::set_by.eq(by), signature_limit::set_at.eq(at));
    match most {
        None => diesel::delete(signature_limit::table.find((what.as_str(), asset_key))).execute(connection)?,
        Some(most) => diesel::insert_into(signature_limit::table)
            .values((signature_limit::what.eq(what.as_str()), signature_limit::asset_id.eq(asset_key), values(most)))
            .on_conflict((signature_limit::what, signature_limit::asset_id))
            .do_update()
            .set(values(most))
            .execute(connection)?,
    };
    Ok(())
}

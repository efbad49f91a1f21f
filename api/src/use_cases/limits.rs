//! How much of an asset is done without a second person. No row, no limit.

use chrono::{DateTime, Utc};
use redress_domain::{Amount, AssetCode};
pub use redress_store::limits::Limited;
use redress_store::limits::{self, LimitRow};
use redress_store::{StoreError, audit, ledger};
use rust_decimal::Decimal;
use serde::Serialize;

use super::reports::figure;
use super::staff;
use crate::app::{Actor, App};
use crate::error::{AppError, AppResult};
use crate::rights::Right;

/// A limit: above so much of an asset it takes a second person.
#[derive(Debug, Serialize)]
pub struct LimitView {
    /// The asset.
    pub asset: String,
    /// How much, in the asset's unit.
    pub most: String,
    /// Who set it.
    pub set_by: String,
    /// When.
    pub set_at: DateTime<Utc>,
}

/// Every limit of a kind.
pub fn list(app: &App, what: Limited) -> AppResult<Vec<LimitView>> {
    app.store.with(|connection| {
        let rows = limits::of(connection, what)?.into_iter().map(|row| LimitView {
            most: figure(Decimal::from(row.most), row.scale),
            asset: row.asset,
            set_by: row.set_by,
            set_at: row.set_at,
        });
        Ok(rows.collect())
    })
}

/// Sets the limit of an asset, or takes it away.
pub fn set(app: &App, what: Limited, asset: &AssetCode, most: Option<Decimal>, actor: &Actor) -> AppResult<()> {
    app.store.transaction(|connection| {
        staff::require_everywhere(connection, &actor.name, Right::LimitRuns)?;
        let known = ledger::assets(connection)?.into_iter().find(|known| known.code == asset.as_str());
        let known = known.ok_or_else(|| {
            AppError::Usage(format!(
                "--asset {asset}: no policy or budget speaks of it yet, so there is nothing to limit"
            ))
        })?;
        let scale = u8::try_from(known.scale).map_err(StoreError::corrupt)?;
        let minor = most
            .map(|most| Amount::from_decimal(most, scale))
            .transpose()
            .map_err(|error| AppError::Usage(format!("--amount: {error}")))?
            .map(Amount::minor);
        if minor.is_some_and(|minor| minor < 0) {
            return Err(AppError::Usage("--amount must not be below 0".into()));
        }
        let of_asset = |row: &LimitRow| (row.asset_key == known.key).then_some(row.most);
        let before = limits::of(connection, what)?.iter().find_map(of_asset);
        let action = format!("{}.limit", what.as_str());
        let entry = actor.entry(&action, format!("asset {asset}"), serde_json::json!({ "most": most }));
        limits::set(connection, what, known.key, minor, &actor.name, entry.at)?;
        Ok(audit::append(connection, &[entry.before(&before).after(&minor)])?)
    })
}

//! What amounts of an asset are said to be worth, and what they cost: two figures that are never mixed, each by the
//! very version that granted the amount.

use std::collections::{BTreeMap, BTreeSet};

use redress_domain::policy::Worth;
use redress_store::summary::FlowSum;
use redress_store::{Connection, policies};
use rust_decimal::Decimal;

use super::scaled;
use crate::app::App;
use crate::error::AppResult;

/// Face value and cost of one unit of an asset.
type UnitTerms = (Option<Worth>, Option<Worth>);

/// Face value and cost of one unit, by version and asset.
pub(super) struct Terms(BTreeMap<(i32, String), UnitTerms>);

impl Terms {
    /// The terms of every version that these sums follow from.
    pub(super) fn load(app: &App, connection: &mut Connection, sums: &[FlowSum]) -> AppResult<Self> {
        let keys: BTreeSet<i32> = sums.iter().map(|sum| sum.version_key).collect();
        let mut terms = BTreeMap::new();
        for version in policies::by_keys(connection, &keys.into_iter().collect::<Vec<_>>())? {
            let active = app.policies.compile(&version)?;
            for (place, asset) in active.policy.assets().iter().enumerate() {
                if let Some(declared) = active.policy.asset_terms(place) {
                    let key = (version.key, asset.code().to_string());
                    terms.insert(key, (declared.face.clone(), declared.cost.clone()));
                }
            }
        }
        Ok(Self(terms))
    }
}

/// The worth of a part of several versions' sums, as `1500 KRW`; none when a version that has some of it says none,
/// since half a figure would pass for the whole.
pub(super) struct Worths {
    /// Face value.
    pub(super) face: Option<String>,
    /// Cost.
    pub(super) cost: Option<String>,
}

impl Worths {
    pub(super) fn of(versions: &[FlowSum], terms: &Terms, part: impl Fn(&FlowSum) -> Option<Decimal>) -> Self {
        let sum = |which: fn(&UnitTerms) -> Option<&Worth>| {
            let mut sums: BTreeMap<String, Decimal> = BTreeMap::new();
            for version in versions {
                let amount = scaled(part(version)?, version.scale);
                let worth = terms.0.get(&(version.version_key, version.asset.clone())).and_then(which);
                let Some(worth) = worth else {
                    if amount.is_zero() {
                        continue;
                    }
                    return None;
                };
                let entry = sums.entry(worth.asset.to_string()).or_default();
                *entry = entry.checked_add(worth.amount.checked_mul(amount)?)?;
            }
            let shown: Vec<String> =
                sums.into_iter().map(|(currency, sum)| format!("{} {currency}", sum.normalize())).collect();
            (!shown.is_empty()).then(|| shown.join(" + "))
        };
        Self { face: sum(|(face, _)| face.as_ref()), cost: sum(|(_, cost)| cost.as_ref()) }
    }
}

//! What a run would do, and the hash that an approval is bound to.

use std::collections::BTreeMap;

use redress_domain::AssetCode;
use redress_domain::log::canonical;
use redress_store::{Connection, StoreError, ledger, run_lifecycle, runs};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::context::{Accounts, Context};
use super::{BudgetState, CHUNK_SIZE, Order, Report, Tally, Watcher, chunk};
use crate::app::{Actor, App};
use crate::error::AppResult;

/// What a plan follows from. When it changes, the plan is void, and with it its approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Basis {
    /// The content hash of every policy in force.
    pub versions: BTreeMap<String, String>,
    /// The content hash of the incident: its windows.
    #[serde(default)]
    pub incident: String,
    /// The newest roster.
    pub roster: i64,
    /// What was approved of each budget, in minor units.
    pub budgets: BTreeMap<String, i64>,
}

impl Basis {
    /// What a run would follow from that began now with these policies.
    pub(super) fn of(context: &Context<'_>, connection: &mut Connection) -> AppResult<Self> {
        let in_force = context.issuing.iter().filter(|issuing| issuing.is_in_force);
        let versions = in_force.map(|issuing| &issuing.active);
        let budgets = ledger::budget_views(connection, context.incident.key)?;
        Ok(Self {
            versions: versions
                .map(|active| (active.policy.id().to_string(), active.policy.version().to_owned()))
                .collect(),
            incident: context.incident.source_hash.clone(),
            roster: run_lifecycle::newest_roster(connection, context.incident.key)?,
            budgets: budgets
                .into_iter()
                .map(|budget| (format!("{}/{}", budget.service, budget.asset), budget.approved))
                .collect(),
        })
    }

    /// What differs in another, in words; nothing when all is the same. Budgets count until the run has begun: one that
    /// stopped for want of a budget goes on with a larger one.
    pub(super) fn changed(&self, now: &Self, has_begun: bool) -> Option<&'static str> {
        if self.versions != now.versions {
            Some("the policies in force")
        } else if self.incident != now.incident {
            Some("the incident's windows")
        } else if self.roster != now.roster {
            Some("the roster")
        } else if !has_begun && self.budgets != now.budgets {
            Some("the budgets")
        } else {
            None
        }
    }
}

/// What a run would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// The incident.
    pub incident: String,
    /// Which policies; null means all.
    #[schema(value_type = Option<Vec<String>>)]
    pub scope: serde_json::Value,
    /// What it follows from.
    pub basis: Basis,
    /// The figures.
    pub tally: Tally,
    /// What it takes of the budgets: the total, by service and asset.
    pub budgets: Vec<BudgetState>,
}

impl Plan {
    /// Makes the plan: the same path as a run, without the writes.
    pub(super) fn make(context: &Context<'_>, order: &Order, watcher: &dyn Watcher) -> AppResult<Self> {
        context.app.store.with(|connection| {
            let basis = Basis::of(context, connection)?;
            let ranges = runs::ranges(connection, context.incident.key, CHUNK_SIZE)?;
            watcher.begin(u64::try_from(ranges.len()).unwrap_or(0), 0);
            let (mut tally, mut met) = (Tally::default(), chunk::Met::default());
            for chunk in ranges {
                tally.add(&chunk::load(context, connection, &chunk, &mut met)?.decide(0, &mut |_| Ok(()))?.tally)?;
                watcher.advance(tally.credits);
            }
            let budgets = context.budget_states(connection, &tally)?;
            Ok(Self { incident: order.incident.to_string(), scope: order.scope(), basis, tally, budgets })
        })
    }

    /// The hash of all of it, in hex: whoever approves it has seen this plan and no other.
    pub fn hash(&self) -> AppResult<String> {
        let hash = canonical::hash(self).ok_or_else(|| StoreError::corrupt("a plan cannot be written as JSON"))?;
        Ok(hash.to_string())
    }

    /// How much it issues of each asset, over all services, by the asset's key.
    pub(super) fn totals(&self, accounts: &Accounts) -> AppResult<BTreeMap<i32, i64>> {
        let mut totals = BTreeMap::new();
        for budget in &self.budgets {
            let code = AssetCode::parse(&budget.asset).map_err(StoreError::corrupt)?;
            // An asset without a key has no budget either: nothing of it can be issued.
            let Some((key, _)) = accounts.assets.iter().find(|(_, (known, _))| *known == code) else { continue };
            let sum: &mut i64 = totals.entry(*key).or_default();
            *sum = sum
                .checked_add(budget.needed)
                .ok_or_else(|| StoreError::corrupt("the total of a plan is beyond what can be stored"))?;
        }
        Ok(totals)
    }

    /// The plan as its maker sees it.
    pub(super) fn report(self) -> AppResult<Report> {
        let plan = Some(self.hash()?);
        let (tally, budgets) = (self.tally, self.budgets);
        Ok(Report { run: None, state: None, plan, resumed: false, issued: 0, stopped: None, tally, budgets })
    }
}

/// Says what would be issued; nothing is written.
pub fn plan(app: &App, order: &Order, watcher: &dyn Watcher) -> AppResult<Report> {
    Plan::make(&Context::load(app, order, &Actor::at_command_line(None))?, order, watcher)?.report()
}

//! What is odd about a budget that is asked for: nothing would ever be issued from it, or it was asked for before. It may be
//! meant so, and is not refused.

use redress_store::budgets::{self, RequestKind};
use redress_store::{incidents, policies};

use super::budgets::BudgetOrder;
use crate::app::App;
use crate::error::AppResult;

/// What whoever asked for an amount should look at before it is approved.
pub fn of(app: &App, order: &BudgetOrder, request: i64) -> AppResult<Vec<String>> {
    app.store.with(|connection| {
        let mut warnings = Vec::new();
        let same = budgets::same_open(connection, request)?;
        if !same.is_empty() {
            let same: Vec<String> = same.iter().map(ToString::to_string).collect();
            warnings.push(format!(
                "the same amount waits for approval already, as request {}: if this is the same one, redress budget reject \
                 takes one of them back",
                same.join(", ")
            ));
        }
        if order.kind == RequestKind::Authorise {
            let found = incidents::find(connection, &order.incident)?;
            let service_key = found.service_key(&order.service)?;
            let mut granted = Vec::new();
            for version in policies::standing(connection, found.key, service_key)? {
                let policy = app.policies.compile(&version)?.policy;
                granted.extend(policy.assets().iter().map(|asset| asset.code().clone()));
            }
            granted.sort();
            granted.dedup();
            if !granted.contains(&order.asset) {
                warnings.push(nothing_grants(order, &granted));
            }
        }
        Ok(warnings)
    })
}

fn nothing_grants(order: &BudgetOrder, granted: &[impl ToString]) -> String {
    let BudgetOrder { service, asset, incident, .. } = order;
    let granted: Vec<String> = granted.iter().map(ToString::to_string).collect();
    let but = if granted.is_empty() { String::new() } else { format!(", but {}", granted.join(", ")) };
    format!(
        "no policy of {service} that is published for {incident} grants {asset}{but}: nothing is issued from it as yet"
    )
}

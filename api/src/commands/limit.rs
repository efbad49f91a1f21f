//! `redress run limit`, `credit limit` and `staff limit`: how much of an asset is done without a second person.

use redress_domain::AssetCode;
use redress_domain::asset::grouped;

use super::print::table;
use super::print_or;
use crate::app::{Actor, App};
use crate::cli::{Format, LimitArgs};
use crate::error::{AppError, AppResult};
use crate::use_cases::budgets;
use crate::use_cases::limits::{self, Limited};

/// Sets a limit where one is given, and lists all of its kind.
pub(super) fn run(app: &App, what: Limited, args: &LimitArgs, format: Format) -> AppResult<()> {
    if let (Some(asset), Some(by)) = (&args.asset, &args.by) {
        let asset = AssetCode::parse(asset).map_err(|error| AppError::Usage(format!("--asset: {error}")))?;
        let most = match (&args.amount, args.none) {
            (Some(amount), _) => Some(budgets::parse_amount(amount)?),
            (None, true) => None,
            (None, false) => return Err(AppError::Usage("--asset: say how much with --amount N, or --none".into())),
        };
        limits::set(app, what, &asset, most, &Actor::at_command_line(Some(by)))?;
    }
    let (none, some) = words(what);
    let limits = limits::list(app, what)?;
    print_or(format, &limits, || {
        if limits.is_empty() {
            println!("{none}");
            return;
        }
        println!("{some}");
        let rows: Vec<Vec<String>> =
            limits.iter().map(|limit| vec![limit.asset.clone(), grouped(&limit.most), limit.set_by.clone()]).collect();
        table(&["asset", ">most", "set by"], &rows);
    });
    Ok(())
}

fn words(what: Limited) -> (&'static str, &'static str) {
    match what {
        Limited::Run => (
            "No limit is set: every run begins without a second person.",
            "Above these a run waits for a second person:",
        ),
        Limited::Correction => (
            "No limit is set: reversals and write-offs take no second person.",
            "Above these within a day, a reversal or write-off waits for a second person:",
        ),
        Limited::Decision => (
            "None is set: what has no face value in won always takes a second signature.",
            "So much weighs as much as the 300,000 won that an agent decides alone:",
        ),
    }
}

//! `redress budget …`: what may be issued, and giving back what is left; each asked for by one person and decided by another.

use super::print_or;
use crate::app::{Actor, App};
use crate::cli::{BudgetArgs, BudgetCommand, DecideBudgetArgs, Format};
use crate::error::AppResult;
use crate::use_cases::budget_warnings;
use crate::use_cases::budgets::{self, Act, BudgetOrder, RequestKind};

pub(super) fn run(app: &App, command: BudgetCommand, format: Format) -> AppResult<()> {
    let kind = |args: &DecideBudgetArgs| if args.release { RequestKind::Release } else { RequestKind::Authorise };
    match command {
        BudgetCommand::Authorise(args) => order(app, &args, format, RequestKind::Authorise, Act::Ask),
        BudgetCommand::Release(args) => order(app, &args, format, RequestKind::Release, Act::Ask),
        BudgetCommand::Approve(args) => order(app, &args.budget, format, kind(&args), Act::Approve),
        BudgetCommand::Reject(args) => order(app, &args.budget, format, kind(&args), Act::Reject),
    }
}

fn order(app: &App, args: &BudgetArgs, format: Format, kind: RequestKind, act: Act) -> AppResult<()> {
    let order = BudgetOrder::parse(&args.incident, &args.service, &args.asset, &args.amount)?;
    let order = BudgetOrder { kind, ..order };
    let request = budgets::order(app, &order, &Actor::at_command_line(Some(&args.by)), act)?;
    let state = act.state();
    let warnings = if act == Act::Ask { budget_warnings::of(app, &order, request)? } else { Vec::new() };
    let mut document = serde_json::json!({ "request": request, "kind": kind.as_str(), "state": state });
    if !warnings.is_empty() {
        document["warnings"] = serde_json::json!(warnings);
    }
    print_or(format, &document, || {
        let (what, flag) = match kind {
            RequestKind::Authorise => (state.to_owned(), ""),
            RequestKind::Release if act == Act::Ask => ("asked to release".to_owned(), " --release"),
            RequestKind::Release => (format!("release {state}:"), ""),
        };
        println!("{what} {} {} for {} (request {request}).", order.amount, order.asset, order.service);
        if act == Act::Ask {
            warnings.iter().for_each(|warning| println!("WARNING: {warning}"));
            println!("It counts once a second person approves it: redress budget approve …{flag} --as SOMEBODY-ELSE");
        }
    });
    Ok(())
}

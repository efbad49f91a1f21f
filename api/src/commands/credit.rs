//! `redress credit …`: what was issued to a customer, and what became of it.

use std::collections::HashSet;
use std::process::ExitCode;

use redress_domain::asset::grouped;
use redress_domain::credit::Flow;
use redress_domain::id::{CustomerId, ReasonCode, TransferId};
use rust_decimal::Decimal;

use super::print::table;
use super::{limit, print_or};
use crate::app::{Actor, App};
use crate::cli::{CorrectionArgs, CreditCommand, Format};
use crate::error::{AppError, AppResult};
use crate::use_cases::credits::corrections::{self, Asked, Corrected, Correction, CorrectionView, Ground, Kind};
use crate::use_cases::credits::{self, CreditView, file};
use crate::use_cases::limits::Limited;

/// The most refused rows that are printed for people.
const SHOWN: usize = 20;

pub(super) fn run(app: &App, command: CreditCommand, format: Format) -> AppResult<ExitCode> {
    match command {
        CreditCommand::List { customer } => list(app, &customer, format),
        CreditCommand::Deliver { file, by } => {
            let taken = file::take(app, Flow::Deliver, &file, &Actor::at_command_line(by.as_deref()))?;
            Ok(print_taken(&taken, "delivered", format))
        }
        CreditCommand::Expire { file, by } => {
            let taken = file::take(app, Flow::Expire, &file, &Actor::at_command_line(Some(&by)))?;
            Ok(print_taken(&taken, "expired", format))
        }
        CreditCommand::Reverse(args) => ask(app, Kind::Reverse, &args, format),
        CreditCommand::WriteOff(args) => ask(app, Kind::WriteOff, &args, format),
        CreditCommand::Corrections { id } => show(app, id, format),
        CreditCommand::Approve(args) => {
            let made = corrections::approve(app, args.id, &Actor::at_command_line(Some(&args.by)))?;
            print_made(&made, "Moved", format);
            Ok(ExitCode::SUCCESS)
        }
        CreditCommand::Reject(args) => {
            let view = corrections::reject(app, args.id, &Actor::at_command_line(Some(&args.by)))?;
            print_or(format, &view, || println!("Rejected: correction {}. Nothing was moved.", view.id));
            Ok(ExitCode::SUCCESS)
        }
        CreditCommand::Limit(args) => {
            limit::run(app, Limited::Correction, &args, format)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Corrects, or leaves it to a second person: then nothing was done yet, and the exit code says so.
fn ask(app: &App, kind: Kind, args: &CorrectionArgs, format: Format) -> AppResult<ExitCode> {
    let (items, ground) = parse(args)?;
    let verb = match kind {
        Kind::Reverse => "Reversed",
        Kind::WriteOff => "Wrote off",
    };
    match corrections::ask(app, kind, &items, &ground, &Actor::at_command_line(Some(&args.by)))? {
        Asked::Done(made) => {
            print_made(&made, verb, format);
            Ok(ExitCode::SUCCESS)
        }
        Asked::Waits(view) => {
            print_or(format, &serde_json::json!({ "corrections": [], "waits": view }), || {
                println!(
                    "WAITS FOR APPROVAL: {}, above the limit of {} alone within a day. Nothing was moved.\n\
                     redress credit approve {} --as SOMEBODY-ELSE",
                    totals(&view),
                    view.asked_by,
                    view.id
                );
            });
            Ok(ExitCode::FAILURE)
        }
    }
}

fn totals(view: &CorrectionView) -> String {
    let shown: Vec<String> =
        view.totals.iter().map(|total| format!("{} {}", grouped(&total.amount), total.asset)).collect();
    format!("{} of {} ({} transfers)", view.kind, shown.join(" and "), view.transfers)
}

fn show(app: &App, id: Option<i64>, format: Format) -> AppResult<ExitCode> {
    if let Some(id) = id {
        let view = corrections::show(app, id)?;
        print_or(format, &view, || {
            println!("Correction {}: {}, {}.", view.id, totals(&view), view.state);
            println!(
                "Asked for by {} at {}, on {} ({}).",
                view.asked_by, view.asked_at, view.effective_on, view.reason
            );
            let rows: Vec<Vec<String>> = view
                .items
                .iter()
                .map(|item| {
                    let amount = grouped(&item.amount);
                    vec![item.transfer.to_string(), item.customer.clone(), amount, item.asset.clone()]
                })
                .collect();
            table(&["transfer", "customer", ">amount", "asset"], &rows);
        });
        return Ok(ExitCode::SUCCESS);
    }
    let views = corrections::list(app)?;
    print_or(format, &serde_json::json!({ "corrections": views }), || {
        let rows: Vec<Vec<String>> = views
            .iter()
            .map(|view| {
                let decided = view.decided_by.clone().unwrap_or_default();
                vec![view.id.to_string(), view.state.to_owned(), totals(view), view.asked_by.clone(), decided]
            })
            .collect();
        table(&[">number", "state", "what", "asked by", "decided by"], &rows);
    });
    Ok(ExitCode::SUCCESS)
}

fn parse(args: &CorrectionArgs) -> AppResult<(Vec<Correction>, Ground)> {
    let invalid = |flag: &str, error: String| AppError::Usage(format!("{flag}: {error}"));
    if args.amount.is_some() && args.ids.len() > 1 {
        return Err(AppError::Usage("--amount is for one ID; several are moved whole".into()));
    }
    let amount = args.amount.as_deref().map(|text| {
        Decimal::from_str_exact(&text.replace('_', ""))
            .map_err(|_| invalid("--amount", format!("{text:?} is no exact number")))
    });
    let amount = amount.transpose()?;
    if amount.is_some_and(|amount| amount <= Decimal::ZERO) {
        return Err(invalid("--amount", "must be above 0; leave it away to move all of it".into()));
    }
    let customer = args.customer.as_deref().map(CustomerId::parse).transpose();
    let customer = customer.map_err(|error| invalid("--customer", error.to_string()))?;
    let reason = ReasonCode::parse(&args.reason).map_err(|error| invalid("--reason", error.to_string()))?;
    let items: Vec<Correction> = args
        .ids
        .iter()
        .map(|id| {
            let transfer = id.parse::<TransferId>().map_err(|error| invalid("ID", format!("{id:?}: {error}")))?;
            Ok(Correction { transfer, customer: customer.clone(), amount })
        })
        .collect::<AppResult<_>>()?;
    let mut seen = HashSet::new();
    if let Some(twice) = items.iter().find(|item| !seen.insert(item.transfer)) {
        return Err(AppError::Usage(format!("ID: {} stands twice; nothing was moved", twice.transfer)));
    }
    Ok((items, Ground { reason, on: args.date }))
}

fn list(app: &App, customer: &str, format: Format) -> AppResult<ExitCode> {
    let customer = CustomerId::parse(customer).map_err(|error| AppError::Usage(format!("--customer: {error}")))?;
    let views = credits::list(app, &customer, None, i64::MAX)?;
    print_or(format, &serde_json::json!({ "customer": customer, "credits": views }), || print_list(&views));
    Ok(ExitCode::SUCCESS)
}

fn print_list(views: &[CreditView]) {
    if views.is_empty() {
        println!("Nothing was ever credited to this customer.");
        return;
    }
    let mut rows = Vec::new();
    for view in views {
        let head = [view.id.to_string(), view.policy.clone(), view.asset.clone(), grouped(&view.amount)];
        let tail = [grouped(&view.owed), view.state.to_owned(), view.issued_at.date_naive().to_string()];
        rows.push(head.into_iter().chain(tail).collect());
        for moved in &view.movements {
            let why = moved.reason.clone().unwrap_or_default();
            let head = [moved.transfer.to_string(), format!("  {}", moved.what), String::new(), grouped(&moved.amount)];
            rows.push(head.into_iter().chain([String::new(), why, moved.effective_on.to_string()]).collect());
        }
    }
    table(&["transfer", "policy", "asset", ">amount", ">owed", "state", "date"], &rows);
}

fn print_taken(taken: &file::Taken, verb: &str, format: Format) -> ExitCode {
    print_or(format, taken, || {
        println!(
            "{} credits recorded as {verb}, {} had been before, {} refused.",
            grouped(&taken.recorded.to_string()),
            grouped(&taken.already.to_string()),
            grouped(&taken.refused.to_string())
        );
        for refusal in taken.refusals.iter().take(SHOWN) {
            println!("  line {}: {} {} ({})", refusal.index, refusal.id, refusal.detail, refusal.code);
        }
    });
    if taken.refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print_made(made: &[Corrected], verb: &str, format: Format) {
    print_or(format, &serde_json::json!({ "corrections": made }), || {
        for one in made {
            println!(
                "{verb} {} {} of {} from {} on ({}); {} still owed. Transfer {}.",
                grouped(&one.amount),
                one.asset,
                one.original,
                one.effective_on,
                one.reason,
                grouped(&one.owed),
                one.transfer
            );
        }
    });
}

//! `redress run exceptions RUN`: whom a run set aside, so that a person can look at each.

use super::print::table;
use super::print_or;
use crate::app::App;
use crate::cli::{ExceptionArgs, Format};
use crate::error::{AppError, AppResult};
use crate::use_cases::run_exceptions;

pub(super) fn run(app: &App, args: &ExceptionArgs, format: Format) -> AppResult<()> {
    let page = run_exceptions::page(app, args.id, args.cursor.as_deref(), args.limit).map_err(|error| match error {
        AppError::Field(_, detail) => AppError::Usage(format!("--cursor: {detail}")),
        other => other,
    })?;
    print_or(format, &page, || {
        if page.exceptions.is_empty() {
            println!("Run {} set nobody aside{}.", args.id, if args.cursor.is_some() { " after that" } else { "" });
            return;
        }
        let rows: Vec<Vec<String>> = page
            .exceptions
            .iter()
            .map(|one| {
                let policy = one.policy.clone().unwrap_or_default();
                vec![one.customer.clone(), policy, one.subject.clone(), one.reason.clone()]
            })
            .collect();
        table(&["customer", "policy", "subject", "reason"], &rows);
        if let Some(next) = &page.next {
            println!("\nThe next ones: redress run exceptions {} --limit {} --cursor {next}", args.id, args.limit);
        }
    });
    Ok(())
}

//! `redress ledger …`: balances at an instant, and every transfer on stdout.

use std::io::{BufWriter, Write};
use std::process::ExitCode;

use chrono::{DateTime, SecondsFormat, Utc};

use redress_domain::asset::grouped;

use super::print::table;
use super::print_or;
use crate::app::App;
use crate::cli::{Format, LedgerCommand};
use crate::error::{AppError, AppResult};
use crate::use_cases::ledger::{self, Layout};

pub(super) fn run(app: &App, command: LedgerCommand, format: Format) -> AppResult<ExitCode> {
    match command {
        LedgerCommand::Balance { account, at } => balance(app, &account, at, format),
        LedgerCommand::Export { ndjson, at } => {
            let layout = if ndjson || format == Format::Json { Layout::Ndjson } else { Layout::Csv };
            export(app, layout, at)
        }
    }
}

fn balance(app: &App, account: &str, at: Option<DateTime<Utc>>, format: Format) -> AppResult<ExitCode> {
    let found = ledger::balance(app, account, at)?;
    print_or(format, &found, || {
        let mut rows: Vec<Vec<String>> = found
            .balances
            .iter()
            .map(|balance| vec![balance.account.clone(), grouped(&balance.balance), balance.asset.clone()])
            .collect();
        if found.balances.len() > 1 {
            for total in &found.totals {
                let name = format!("total of {} accounts", total.accounts);
                rows.push(vec![name, grouped(&total.balance), total.asset.clone()]);
            }
        }
        table(&["account", ">balance", "asset"], &rows);
        println!("\n  as of {}", found.at.to_rfc3339_opts(SecondsFormat::Micros, true));
    });
    Ok(ExitCode::SUCCESS)
}

fn export(app: &App, layout: Layout, at: Option<DateTime<Utc>>) -> AppResult<ExitCode> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    match ledger::export(app, layout, at, &mut out) {
        Ok(count) => {
            out.flush().map_err(AppError::io("writing the export"))?;
            eprintln!("redress: {} transfers", grouped(&count.to_string()));
            Ok(ExitCode::SUCCESS)
        }
        // Whoever reads may stop reading, as `head` does.
        Err(AppError::Io { source, .. }) if source.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error),
    }
}

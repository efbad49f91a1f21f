//! `redress backup` and `redress restore`.

use std::path::Path;
use std::process::ExitCode;

use redress_domain::asset::grouped;

use super::print_or;
use crate::app::{Actor, App};
use crate::cli::Format;
use crate::error::AppResult;
use crate::settings::Settings;
use crate::use_cases::backup;

pub(super) fn write(app: &App, file: &Path, format: Format) -> AppResult<()> {
    let done = backup::write(app, file, &Actor::at_command_line(None))?;
    print_or(format, &done, || {
        println!("Wrote {}: {} bytes.", done.file.display(), grouped(&done.bytes.to_string()));
        println!("The keys are not in it: keep secrets/master.key and secrets/signing.key apart from it.");
    });
    Ok(())
}

pub(super) fn restore(settings: Settings, file: &Path) -> AppResult<ExitCode> {
    let format = settings.format;
    let done = backup::restore(settings, file, &Actor::at_command_line(None))?;
    print_or(format, &done, || {
        println!("Restored {}; its log has {} leaves.", file.display(), grouped(&done.log.to_string()));
        if let Some(kept) = &done.head_kept {
            println!("The head of the log that this folder knew before is kept as {}.", kept.display());
        }
        done.warnings.iter().for_each(|warning| println!("WARNING: {warning}"));
        println!("Read it again before you go on: redress verify, with --head FILE if you have exported one.");
    });
    Ok(if done.warnings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

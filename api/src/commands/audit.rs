//! `redress verify` and `redress audit …`: what the log says, and whether it is still the log that was signed.

use std::path::Path;
use std::process::ExitCode;

use redress_domain::asset::grouped;
use redress_domain::ledger::TransferCode;
use redress_domain::log::{CreditProof, Proof, PublicKey};
use rust_decimal::Decimal;

use super::print::{self, amount, document};
use super::print_or;
use crate::app::{Actor, App};
use crate::cli::Format;
use crate::error::{AppError, AppResult};
use crate::outputs;
use crate::secrets::SIGNING_KEY;
use crate::use_cases::audit;

/// Reads everything again; exits 1 where it fails.
pub(super) fn verify(app: &App, head: Option<&Path>, format: Format) -> AppResult<ExitCode> {
    let exported = head.map(audit::read_head).transpose()?;
    let checks = audit::verify(app, exported)?;
    let holds = checks.iter().all(|check| check.faults.is_empty());
    match format {
        Format::Json => document(&serde_json::json!({ "holds": holds, "checks": checks })),
        Format::Text => print::verify(&checks),
    }
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Writes the newest signed head, to a file or to stdout.
pub(super) fn export_head(app: &App, file: Option<&Path>, format: Format) -> AppResult<ExitCode> {
    let head = audit::head(app)?;
    let Some(file) = file else {
        document(&head);
        return Ok(ExitCode::SUCCESS);
    };
    outputs::write_new(file, &json_of(file, &head)?, "a head")?;
    match format {
        Format::Json => document(&head),
        Format::Text => println!(
            "Wrote the head of {} leaves to {}. Keep it where those who run the database cannot change it.",
            grouped(&head.size.to_string()),
            file.display()
        ),
    }
    Ok(ExitCode::SUCCESS)
}

fn json_of(file: &Path, value: &impl serde::Serialize) -> AppResult<Vec<u8>> {
    let writing = format!("writing {}", file.display());
    let mut text = serde_json::to_vec_pretty(value).map_err(|error| AppError::io(writing)(error.into()))?;
    text.push(b'\n');
    Ok(text)
}

/// Changes the key that signs the log's heads.
pub(super) fn rotate_key(app: &App, new_key: Option<&Path>, by: &str, format: Format) -> AppResult<ExitCode> {
    let change = audit::rotate_key(app, new_key, &Actor::at_command_line(Some(by)))?;
    let follows = app.secrets.signer().public_key() == change.new;
    print_or(format, &change, || {
        println!("The log's heads are signed by key {} from now on; before, by {}.", change.new, change.old);
        println!("Publish the new key, and what redress audit keys writes for whoever holds a proof of before.");
        if !follows {
            println!("Now put the new key into {SIGNING_KEY} (or its file) of every server and start them again:");
            println!("until then they serve, and seal nothing.");
        }
    });
    Ok(ExitCode::SUCCESS)
}

/// Writes every change of the log's key, to a file or to stdout.
pub(super) fn keys(app: &App, file: Option<&Path>) -> AppResult<ExitCode> {
    let changes = audit::key_changes(app)?;
    match file {
        Some(file) => std::fs::write(file, json_of(file, &changes)?)
            .map_err(AppError::io(format!("writing {}", file.display())))?,
        None => document(&changes),
    }
    Ok(ExitCode::SUCCESS)
}

/// Checks a claimant's proof, without any installation.
pub(super) fn check_proof(file: &Path, key: Option<&str>, keys: Option<&Path>, format: Format) -> AppResult<ExitCode> {
    let key: Option<PublicKey> =
        key.map(|text| text.parse().map_err(|error| AppError::Usage(format!("--key: {error}")))).transpose()?;
    let proof = audit::check_proof(file, key.as_ref(), keys)?;
    match format {
        Format::Json => document(&serde_json::json!({
            "holds": true, "claim": proof.claim, "size": proof.head.size, "at": proof.head.at,
            "public_key": proof.head.public_key, "entries": proof.entries.len(), "credits": proof.credits.len(),
        })),
        Format::Text => say(&proof, key.is_some()),
    }
    Ok(ExitCode::SUCCESS)
}

fn say(proof: &Proof, key_was_given: bool) {
    let head = &proof.head;
    println!(
        "The proof holds: claim {} stands in the log of {} leaves, signed on {}.",
        proof.claim, head.size, head.at
    );
    for shown in &proof.entries {
        println!("  {}  {} by {}", shown.entry.at, shown.entry.action, shown.entry.actor);
    }
    for credit in &proof.credits {
        println!("  {}  {}", credit.posting.recorded_at, sentence(credit));
    }
    if !key_was_given {
        println!("It was signed by key {}: compare it with the key that the operator publishes.", head.public_key);
    }
}

/// What a credit says, in words.
fn sentence(credit: &CreditProof) -> String {
    let (transfer, posting) = (&credit.transfer, &credit.posting);
    let asset = posting.assets.get(&transfer.asset);
    let minor = transfer.amount.parse::<i64>().unwrap_or_default();
    let figure = asset.map_or_else(
        || transfer.amount.clone(),
        |asset| format!("{} {}", amount(Decimal::from(minor), asset.scale), asset.code),
    );
    let account = |key| posting.accounts.get(&key).map_or("", String::as_str);
    let what = TransferCode::from_number(transfer.code).map_or("transfer", TransferCode::as_str);
    let policy = posting
        .policies
        .get(&transfer.policy_version)
        .map(|name| format!(", policy {} {}", name.policy, redress_store::policies::short(&name.version)))
        .unwrap_or_default();
    let (debit, credit, customer) = (account(transfer.debit), account(transfer.credit), &transfer.customer);
    format!("{what}: {figure} from {debit} to {credit} for customer {customer}{policy}")
}

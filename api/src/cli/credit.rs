//! `redress credit …`

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::{Args, Subcommand};

use super::LimitArgs;

/// `credit …`
#[derive(Debug, Subcommand)]
pub enum CreditCommand {
    /// List the credits of a customer and what happened to each
    List {
        /// The customer
        #[arg(long, value_name = "ID")]
        customer: String,
    },
    /// Record what services acknowledged as granted; a row given twice counts once
    Deliver {
        /// CSV or NDJSON with customer, credit and, if they differ from all of it at once today, amount, attempt, date
        file: PathBuf,
        /// Who records it
        #[arg(long = "as", env = "REDRESS_AS", value_name = "NAME")]
        by: Option<String>,
    },
    /// Record credits whose term ran out unused; a row given twice counts once
    Expire {
        /// As for deliver
        file: PathBuf,
        /// Who records it
        #[arg(long = "as", env = "REDRESS_AS", value_name = "NAME")]
        by: String,
    },
    /// Move credits back into their budget, or a delivery, expiry or write-off back to what is owed; all or none
    Reverse(CorrectionArgs),
    /// Write off credits that cannot be delivered: they stand in suspense until that is reversed; all or none
    WriteOff(CorrectionArgs),
    /// List reversals and write-offs, those that wait for a second person first; or show one, whole
    Corrections {
        /// Its number
        id: Option<i64>,
    },
    /// Approve a reversal or write-off above a limit, as somebody else than who asked for it; it is done then
    Approve(DecideCorrectionArgs),
    /// Reject one; it can never be approved then
    Reject(DecideCorrectionArgs),
    /// Set how much one person reverses and writes off alone within a day; without flags, list the limits
    Limit(LimitArgs),
}

/// Flags of `credit approve` and `credit reject`.
#[derive(Debug, Clone, Args)]
pub struct DecideCorrectionArgs {
    /// Its number, as credit corrections shows it
    pub id: i64,
    /// Who decides
    #[arg(long = "as", env = "REDRESS_AS", value_name = "NAME")]
    pub by: String,
}

/// Flags of `credit reverse` and `credit write-off`.
#[derive(Debug, Clone, Args)]
pub struct CorrectionArgs {
    /// Transfers, as credit list shows them
    #[arg(required = true, value_name = "ID")]
    pub ids: Vec<String>,
    /// Why, as a code such as credited-in-error
    #[arg(long, value_name = "CODE")]
    pub reason: String,
    /// Only so much of it, in the asset's unit
    #[arg(long, value_name = "N")]
    pub amount: Option<String>,
    /// From when it counts for people (YYYY-MM-DD, default today); past balances stay what they were
    #[arg(long, value_name = "DATE")]
    pub date: Option<NaiveDate>,
    /// Whose they are; without, the whole ledger is searched
    #[arg(long, value_name = "ID")]
    pub customer: Option<String>,
    /// Who does it
    #[arg(long = "as", env = "REDRESS_AS", value_name = "NAME")]
    pub by: String,
}

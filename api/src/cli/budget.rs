//! `redress budget …`

use clap::{Args, Subcommand};

/// Flags of `budget …`.
#[derive(Debug, Clone, Args)]
pub struct BudgetArgs {
    /// The incident
    #[arg(long, value_name = "NAME")]
    pub incident: String,
    /// The service
    #[arg(long, value_name = "NAME")]
    pub service: String,
    /// The asset, such as KRW or day:melon
    #[arg(long, value_name = "CODE")]
    pub asset: String,
    /// The amount, in the asset's unit
    #[arg(long, value_name = "N")]
    pub amount: String,
    /// Who does it
    #[arg(long = "as", env = "REDRESS_AS", value_name = "NAME")]
    pub by: String,
}

/// Flags of `budget approve` and `budget reject`.
#[derive(Debug, Clone, Args)]
pub struct DecideBudgetArgs {
    /// Which, and who
    #[command(flatten)]
    pub budget: BudgetArgs,
    /// What is decided was asked for by budget release, not by budget authorise
    #[arg(long)]
    pub release: bool,
}

/// `budget …`
#[derive(Debug, Subcommand)]
pub enum BudgetCommand {
    /// Ask for an amount; it counts once a second person approves it
    Authorise(BudgetArgs),
    /// Ask to give back what is left; it leaves the budget once a second person approves it
    Release(BudgetArgs),
    /// Approve what somebody else authorised, or asked to release
    Approve(DecideBudgetArgs),
    /// Reject what somebody authorised, or asked to release; it can never be approved then
    Reject(DecideBudgetArgs),
}

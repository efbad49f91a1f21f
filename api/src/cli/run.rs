//! `redress run …`

use clap::{Args, Subcommand};

use crate::use_cases::issue::WORKERS;
use crate::use_cases::run_exceptions::{MAX_PAGE, PAGE};

/// `run …`
#[derive(Debug, Subcommand)]
pub enum RunCommand {
    /// List the newest runs
    List,
    /// Show a run: its plan, how far it is, what was set aside
    Show {
        /// The run's number
        id: i64,
    },
    /// List whom a run set aside for a person, each with its reason
    Exceptions(ExceptionArgs),
    /// Approve a run above a limit, as somebody else than who started it
    Approve {
        /// The run's number
        id: i64,
        /// The plan's hash as run show prints it: what you approve is what you have seen
        #[arg(long, value_name = "HASH")]
        plan: String,
        /// Who approves
        #[arg(long = "as", env = "REDRESS_AS", value_name = "NAME")]
        by: String,
    },
    /// Halt a run: every worker of every machine ends after the chunk it is at
    Pause(SteerArgs),
    /// Let a halted run go on, here and now
    Resume {
        /// Which, and who
        #[command(flatten)]
        steer: SteerArgs,
        /// How many workers share the job
        #[arg(long, default_value_t = WORKERS, value_parser = clap::value_parser!(u16).range(1..=64))]
        workers: u16,
    },
    /// End a run; what was issued stands
    Cancel(SteerArgs),
    /// Set how much of an asset a run may issue without a second person; without flags, list the limits
    Limit(LimitArgs),
}

/// Flags of `run exceptions`.
#[derive(Debug, Clone, Args)]
pub struct ExceptionArgs {
    /// The run's number
    pub id: i64,
    /// How many
    #[arg(long, value_name = "N", default_value_t = PAGE, value_parser = clap::value_parser!(i64).range(1..=MAX_PAGE))]
    pub limit: i64,
    /// Where the page before ended, as that page says
    #[arg(long, value_name = "CURSOR")]
    pub cursor: Option<String>,
}

/// Flags of `run pause`, `resume` and `cancel`.
#[derive(Debug, Clone, Args)]
pub struct SteerArgs {
    /// The run's number
    pub id: i64,
    /// Who does it
    #[arg(long = "as", env = "REDRESS_AS", value_name = "NAME")]
    pub by: String,
}

/// Flags of `run limit`, `credit limit` and `staff limit`.
#[derive(Debug, Clone, Args)]
pub struct LimitArgs {
    /// The asset, such as KRW
    #[arg(long, value_name = "CODE", requires = "by")]
    pub asset: Option<String>,
    /// The most of it, in the asset's unit
    #[arg(long, value_name = "N", requires = "asset", conflicts_with = "none")]
    pub amount: Option<String>,
    /// Take the limit of the asset away
    #[arg(long, requires = "asset")]
    pub none: bool,
    /// Who sets it
    #[arg(long = "as", env = "REDRESS_AS", value_name = "NAME")]
    pub by: Option<String>,
}

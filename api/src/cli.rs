//! The command line: every flag has a `REDRESS_…` variable, and a flag wins over a variable over the file.

mod audit;
mod budget;
mod credit;
mod deliver;
mod run;

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{Args, Parser, Subcommand, ValueEnum};

pub use self::audit::AuditCommand;
pub use self::budget::{BudgetArgs, BudgetCommand, DecideBudgetArgs};
pub use self::credit::{CorrectionArgs, CreditCommand, DecideCorrectionArgs};
pub use self::deliver::{DeliverArgs, WebhookCommand};
pub use self::run::{ExceptionArgs, LimitArgs, RunCommand, SteerArgs};
use crate::rights::Role;
use crate::use_cases::issue::WORKERS;

/// Decides what an operator owes after an outage, and pays it exactly once.
#[derive(Debug, Parser)]
#[command(name = "redress", version, about, long_about = None, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done; 1 a check failed or something was refused; 2 usage.\n\
    What stands under Installation can also be set by the variables named there; database_url and production, and more\n\
    that docs/OPERATIONS.md lists, in <data-dir>/redress.toml. A flag wins over a variable, a variable over the file.")]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Installation")]
pub struct Global {
    /// Folder of this installation: secrets, mail, and the private database unless --database-url is given
    #[arg(long, global = true, env = "REDRESS_DATA_DIR", default_value = ".redress", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// PostgreSQL 15 or later to use instead of the private one
    #[arg(long, global = true, env = "REDRESS_DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: Option<String>,
    /// File that holds the database URL, for secrets mounted as files
    #[arg(
        long,
        global = true,
        env = "REDRESS_DATABASE_URL_FILE",
        value_name = "FILE",
        conflicts_with = "database_url"
    )]
    pub database_url_file: Option<PathBuf>,
    /// How results are printed, for people or as one JSON document; progress and logs go to stderr
    #[arg(long, global = true, env = "REDRESS_FORMAT", value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Refuse what is fine on a laptop only: keys that are weak or would have to be made up, mail into a folder
    #[arg(long, global = true, env = "REDRESS_PRODUCTION", value_parser = clap::builder::FalseyValueParser::new())]
    pub production: bool,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[default]
    #[expect(missing_docs, reason = "clap would print it in every --help")]
    Text,
    #[expect(missing_docs, reason = "clap would print it in every --help")]
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Play the outage of 2022 end to end in a fresh data folder, then serve
    Demo(DemoArgs),
    /// Serve the API, the pages and the workers
    Serve(ServeArgs),
    /// Bring the database up to date
    Migrate {
        /// Only print what would be applied
        #[arg(long)]
        plan: bool,
    },
    /// Incidents: what failed, and when
    #[command(subcommand)]
    Incident(IncidentCommand),
    /// Policies: who is owed what, and why
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Rosters: who held what
    #[command(subcommand)]
    Roster(RosterCommand),
    /// Damage reports that came on paper or from elsewhere
    #[command(subcommand)]
    Claim(ClaimCommand),
    /// Budgets: what may be issued
    #[command(subcommand)]
    Budget(BudgetCommand),
    /// Issue the credits that are owed: the batch job, resumable, exactly once
    Issue(IssueArgs),
    /// Runs of the batch job: what waits for approval, how far one is, pause, resume, cancel, limits
    #[command(subcommand)]
    Run(RunCommand),
    /// Tell services to grant the credits that are owed, once; or see to what did not go
    Deliver(DeliverArgs),
    /// Webhooks: where services are told to grant credits, and others what happens to claims
    #[command(subcommand)]
    Webhook(WebhookCommand),
    /// Send the notices that wait, once; or see to those that could not be sent
    Notify(NotifyArgs),
    /// Credits: what was issued, and what became of it
    #[command(subcommand)]
    Credit(CreditCommand),
    /// The ledger
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Read the books and the log again, and name the row where they fail
    Verify {
        /// A signed head that was kept elsewhere: finds a log that was truncated or wholly rewritten
        #[arg(long, value_name = "FILE")]
        head: Option<PathBuf>,
    },
    /// The log of all commands and credits
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Figures
    #[command(subcommand)]
    Report(ReportCommand),
    /// Members of staff
    #[command(subcommand)]
    Staff(StaffCommand),
    /// Write the whole database into a file, while everything goes on; the keys are not in it
    Backup {
        /// The file, which must not exist
        file: PathBuf,
    },
    /// Put a backup into a new data folder or an empty database; the keys of its time must be in place
    Restore {
        /// The file
        file: PathBuf,
    },
    /// Say what is wrong with this installation, and the remedy
    Doctor,
}

/// Flags of `demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// How many customers the roster has
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=50_000_000))]
    pub customers: u64,
    /// How many damage reports are sent over HTTP
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    pub claims: u64,
    /// The seed of everything random
    #[arg(long, default_value_t = 2022)]
    pub seed: u64,
    /// Stop before the batch job, so that it can be run by hand
    #[arg(long)]
    pub skip_issue: bool,
    /// Exit after the summary instead of serving
    #[arg(long)]
    pub exit: bool,
    /// Address to serve on; the next free port is taken when it is in use
    #[arg(long, env = "REDRESS_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub listen: String,
    /// Folder of the policies and incidents; found beside the program or the working folder when not given
    #[arg(long, env = "REDRESS_POLICIES", value_name = "DIR")]
    pub policies: Option<PathBuf>,
}

/// Flags of `serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Address to serve on
    #[arg(long, env = "REDRESS_LISTEN", value_name = "ADDRESS")]
    pub listen: Option<String>,
}

/// Flags of `issue`.
#[derive(Debug, Clone, Args)]
pub struct IssueArgs {
    /// The incident
    #[arg(long, value_name = "NAME")]
    pub incident: String,
    /// Only this policy (may be repeated)
    #[arg(long, value_name = "NAME")]
    pub policy: Vec<String>,
    /// Only say what would be issued
    #[arg(long)]
    pub dry_run: bool,
    /// How many workers share the job
    #[arg(long, default_value_t = WORKERS, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,
    /// Who issues
    #[arg(long = "as", env = "REDRESS_AS", value_name = "NAME")]
    pub by: Option<String>,
}

/// Flags of `notify`.
#[derive(Debug, Clone, Args)]
pub struct NotifyArgs {
    /// List the notices that could not be sent or came back, and send none
    #[arg(long, conflicts_with = "requeue")]
    pub dead: bool,
    /// Queue these notices again, or all that are dead when none is named; they go with the next pass
    #[arg(long, value_name = "ID", num_args = 0.., requires = "by")]
    pub requeue: Option<Vec<uuid::Uuid>>,
    /// Who queues them
    #[arg(long = "as", env = "REDRESS_AS", value_name = "NAME")]
    pub by: Option<String>,
}

/// `incident …`
#[derive(Debug, Subcommand)]
pub enum IncidentCommand {
    /// Load an incident from its file; loading it again changes nothing
    Load {
        /// The file, such as policies/incidents/kakao-2022-10-15.toml
        file: PathBuf,
    },
}

/// `policy …`
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Check policy files: syntax, types, bounds, fairness
    Check {
        /// Files or folders
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// Run the cases beside the policies and measure what they cover
    Test {
        /// Files or folders
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// Assess one subject and print outcome and trace
    Assess {
        /// The policy's file
        policy: PathBuf,
        /// The facts, a JSON file
        #[arg(long, value_name = "FILE")]
        facts: PathBuf,
    },
    /// Say what a policy would do to a roster and the claims on file: counts, cost, who gets nothing and why, and who
    /// gains or loses against the version in force
    Simulate {
        /// The policy's file
        policy: PathBuf,
        /// The roster's file, CSV, NDJSON or Parquet
        #[arg(long, value_name = "FILE")]
        roster: PathBuf,
        /// The incident's file, to need no installation; then claims and the version in force are left out
        #[arg(long, value_name = "FILE")]
        incident_file: Option<PathBuf>,
    },
    /// Take the version in force out of force; what it granted stands
    Retire {
        /// The policy's name
        policy: String,
        /// The incident
        #[arg(long, value_name = "NAME")]
        incident: String,
        /// Who retires it
        #[arg(long = "as", env = "REDRESS_AS", value_name = "NAME")]
        by: String,
    },
    /// Publish a version; it waits for a second person's approval
    Publish {
        /// The policy's file
        policy: PathBuf,
        /// Who publishes
        #[arg(long = "as", env = "REDRESS_AS", value_name = "NAME")]
        by: String,
    },
    /// Approve a published version, as somebody else than who published it
    Approve {
        /// The policy's file, byte for byte as it was published
        policy: PathBuf,
        /// Who approves
        #[arg(long = "as", env = "REDRESS_AS", value_name = "NAME")]
        by: String,
    },
}

/// `claim …`
#[derive(Debug, Subcommand)]
pub enum ClaimCommand {
    /// File the reports of a CSV file of any length; each line by itself, the same line of the same file once
    File {
        /// The file: incident, service, customer, and as many of policy, kind, description, email, name, phone,
        /// payout_account, language and fact.NAME as there are
        file: PathBuf,
        /// Where what became of each line is written; in the data folder unless said
        #[arg(long, value_name = "FILE")]
        results: Option<PathBuf>,
        /// Who files them
        #[arg(long = "as", env = "REDRESS_AS", value_name = "NAME")]
        by: String,
    },
}

/// `roster …`
#[derive(Debug, Subcommand)]
pub enum RosterCommand {
    /// Import holdings from CSV, NDJSON or Parquet; what cannot be used is refused row by row, with its reason, and makes it exit 1
    Import {
        /// The file, .csv, .ndjson or .parquet: customer, service, reference, kind, and if you like product, valid_from,
        /// valid_until (2022-10-11T00:00:00+09:00); any other column is an attribute, in NDJSON those stand in "attributes"
        file: PathBuf,
        /// The incident
        #[arg(long, value_name = "NAME")]
        incident: String,
        /// Where refused rows are written (default: in the data folder)
        #[arg(long, value_name = "FILE")]
        refusals: Option<PathBuf>,
    },
}

/// `ledger …`
#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// Balances of an account or a group of accounts, and the group's totals
    Balance {
        /// The account or the group it stands in, such as owed or provision/kakao-2022-10-15/melon; '' is all
        account: String,
        /// As it stood at this time (RFC 3339); the answer never changes later
        #[arg(long, value_name = "TIME", value_parser = redress_domain::instant::parse)]
        at: Option<DateTime<Utc>>,
    },
    /// Write every transfer to stdout, by customer: CSV, or NDJSON with --ndjson or --format json
    Export {
        /// One JSON object a line
        #[arg(long)]
        ndjson: bool,
        /// Only what was recorded until this time (RFC 3339)
        #[arg(long, value_name = "TIME", value_parser = redress_domain::instant::parse)]
        at: Option<DateTime<Utc>>,
    },
}

/// `report …`
#[derive(Debug, Subcommand)]
pub enum ReportCommand {
    /// What was authorised, credited and is left, from the ledger alone
    Exposure {
        /// Only this incident
        #[arg(long, value_name = "NAME")]
        incident: Option<String>,
    },
    /// How far people came: credited without a claim, reported, decided, paid, and where the others wait
    Funnel {
        /// Only this incident
        #[arg(long, value_name = "NAME")]
        incident: Option<String>,
    },
    /// How second readers agree with whoever decided first, by policy and sample
    Agreement,
    /// Whether it was announced within 30 days how damages are claimed
    NoticeClocks {
        /// Only this incident
        #[arg(long, value_name = "NAME")]
        incident: Option<String>,
    },
    /// What is still owed, delivered, expired and written off: face value, cost and breakage apart
    Liability {
        /// Only this incident
        #[arg(long, value_name = "NAME")]
        incident: Option<String>,
        /// As it stood at this time (RFC 3339)
        #[arg(long, value_name = "TIME", value_parser = redress_domain::instant::parse)]
        at: Option<DateTime<Utc>>,
    },
}

/// `staff …`
#[derive(Debug, Subcommand)]
pub enum StaffCommand {
    /// Add a member of staff
    Add {
        /// The name that --as takes
        name: String,
        /// What they may do
        #[arg(long, value_enum)]
        role: Role,
        /// Only this service (may be repeated)
        #[arg(long, value_name = "NAME")]
        service: Vec<String>,
        /// The largest amount of money they decide alone, at most what the role may, which is the default
        #[arg(long, value_name = "N")]
        decides_up_to: Option<u32>,
    },
    /// Set a password, read from the terminal or stdin, and print a new second factor; sessions end
    Passwd {
        /// The name
        name: String,
        /// Keep the second factor that the member has
        #[arg(long)]
        keep_factor: bool,
    },
    /// List them
    List,
    /// Take their rights away; the name stays taken
    Revoke {
        /// The name
        name: String,
    },
    /// Set how much of an asset weighs as much as the 300,000 won that an agent decides alone (a lead: ten times that);
    /// without flags, list what is set
    Limit(LimitArgs),
}

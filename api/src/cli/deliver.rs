//! `redress deliver` and `redress webhook …`.

use clap::{Args, Subcommand};
use uuid::Uuid;

/// Flags of `deliver`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Without flags: cuts what was issued into deliveries, sends those that are due, and exits 1 when\n\
    something did not go for good or a service refused credits. redress serve does the same all the time.\n\n\
    What --list shows, and what to do:\n  \
    dead      it was tried for about a day, or the service is gone: mend it, then --retry\n  \
    refused   the service does not grant some credits: see GET /v1/deliveries/{id} for which and why, then --retry,\n            \
    redress credit write-off, or redress credit reverse\n  \
    awaiting  the service took it and has not said what it granted; it is told again after a day\n  \
    by-hand   the service has no webhook: redress webhook add, or redress credit deliver FILE"
)]
pub struct DeliverArgs {
    /// Show how delivering stands, and what waits, did not go or was refused; sends nothing
    #[arg(long, conflicts_with = "retry")]
    pub list: bool,
    /// Send these again, or all that are dead when none is named; they go with the next pass
    #[arg(long, value_name = "ID", num_args = 0.., requires = "by")]
    pub retry: Option<Vec<Uuid>>,
    /// Who sends them again
    #[arg(long = "as", env = "REDRESS_AS", value_name = "NAME")]
    pub by: Option<String>,
}

/// `webhook …`
#[derive(Debug, Subcommand)]
pub enum WebhookCommand {
    /// Register an address, and print the secret that calls are signed with, once: where a service grants its credits
    /// (--service alone), or where somebody is told what happens to claims (--event)
    Add {
        /// The address; https:// in production
        #[arg(long, value_name = "URL")]
        url: String,
        /// The service whose credits are delivered there; with --event, the one whose claims are told of (default: all)
        #[arg(long, value_name = "NAME", required_unless_present = "event")]
        service: Option<String>,
        /// What is told there, such as claim.decided (may be repeated): claim.received, .information_wanted, .reminder,
        /// .message, .decided, .appealed, .appeal_decided, .credited, .withdrawn
        #[arg(long, value_name = "NAME")]
        event: Vec<String>,
        /// Who registers it
        #[arg(long = "as", env = "REDRESS_AS", value_name = "NAME")]
        by: String,
    },
    /// List them, and how calls to each fare
    List {
        /// Those that are switched off as well
        #[arg(long)]
        all: bool,
    },
    /// Print a new secret; calls are signed with the old one as well for a day
    Rotate {
        /// The webhook, as list shows it
        id: Uuid,
        /// Who rotates it
        #[arg(long = "as", env = "REDRESS_AS", value_name = "NAME")]
        by: String,
    },
    /// Tell one again what it could not be told of claims, under the same ids
    Redeliver {
        /// The webhook, as list shows it
        id: Uuid,
        /// Only these messages, as GET /v1/webhooks/{id}/messages lists them, sent ones too
        #[arg(long, value_name = "ID")]
        message: Vec<Uuid>,
        /// Who does it
        #[arg(long = "as", env = "REDRESS_AS", value_name = "NAME")]
        by: String,
    },
    /// Switch one off, for good; what is to be delivered waits for another
    Remove {
        /// The webhook, as list shows it
        id: Uuid,
        /// Who removes it
        #[arg(long = "as", env = "REDRESS_AS", value_name = "NAME")]
        by: String,
    },
}

//! The files that a command reads: one that is not there is a mistake of the command line, told before anything begins.

use std::path::Path;

use crate::cli::{AuditCommand, ClaimCommand, Command, CreditCommand, IncidentCommand, PolicyCommand, RosterCommand};
use crate::error::{AppError, AppResult};

/// Refuses a command that names a file that is not there.
pub(super) fn require(command: &Command) -> AppResult<()> {
    match of(command).into_iter().flatten().find(|file| !file.exists()) {
        Some(missing) => Err(AppError::Usage(format!("{}: there is no such file", missing.display()))),
        None => Ok(()),
    }
}

/// The files, but for those of the commands that look at many and tell of each.
fn of(command: &Command) -> [Option<&Path>; 3] {
    match command {
        Command::Incident(IncidentCommand::Load { file })
        | Command::Roster(RosterCommand::Import { file, .. })
        | Command::Claim(ClaimCommand::File { file, .. })
        | Command::Credit(CreditCommand::Deliver { file, .. } | CreditCommand::Expire { file, .. })
        | Command::Restore { file } => [Some(file), None, None],
        Command::Policy(PolicyCommand::Publish { policy, .. } | PolicyCommand::Approve { policy, .. }) => {
            [Some(policy), None, None]
        }
        Command::Policy(PolicyCommand::Simulate { policy, roster, incident_file }) => {
            [Some(policy), Some(roster), incident_file.as_deref()]
        }
        Command::Verify { head } => [head.as_deref(), None, None],
        Command::Audit(AuditCommand::CheckProof { file, keys, .. }) => [Some(file), keys.as_deref(), None],
        Command::Audit(AuditCommand::RotateKey { new_key_file, .. }) => [new_key_file.as_deref(), None, None],
        _ => [None; 3],
    }
}

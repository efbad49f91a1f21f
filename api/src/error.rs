//! The errors of use cases and commands, and the exit code each ends a command with.

use redress_store::StoreError;

use crate::refusal::Refusal;
use crate::use_cases::credits::ItemRefusal;

/// What went wrong, in a sentence for the person who asked.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A flag's value cannot be used: names the flag.
    #[error("{0}")]
    Usage(String),
    /// What was given cannot be used: names the file or field.
    #[error("{0}")]
    Invalid(String),
    /// Something was refused: a rule, a constraint, a second signature that is missing.
    #[error("{0}")]
    Refused(String),
    /// A move of a claim is refused.
    #[error("{0}")]
    Claim(Refusal),
    /// What is there stands against it.
    #[error("{0}")]
    Conflict(String),
    /// Who asks may not have it done.
    #[error("{0}")]
    Forbidden(String),
    /// A field of what was sent cannot be used: its JSON pointer, and why.
    #[error("{0}: {1}")]
    Field(String, String),
    /// Too much was tried; so many seconds later it may be tried again.
    #[error("too many tries: try again in {0} seconds")]
    Later(u64),
    /// Items of a batch that is done whole or not at all: nothing was done.
    #[error("{}", shown(*.of, .refused))]
    Items {
        /// How many items the batch had.
        of: usize,
        /// Those that are refused.
        refused: Vec<ItemRefusal>,
    },
    /// The database or what lies in it.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The private database.
    #[error("{0}")]
    Embedded(#[from] redress_store::embedded::EmbeddedError),
    /// A backup or a restore.
    #[error("{0}")]
    Backup(#[from] redress_store::backup::BackupError),
    /// A file or the machine.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the machine said.
        source: std::io::Error,
    },
}

/// The result of every use case.
pub type AppResult<T> = Result<T, AppError>;

impl AppError {
    /// What a command that fails so exits with: 2 for usage, else 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if matches!(self, Self::Usage(_)) { 2 } else { 1 }
    }

    /// At the command line, what names or makes that which there is not; over HTTP a 404 is for programs.
    #[must_use]
    pub fn next_step(&self) -> Option<&'static str> {
        let Self::Store(StoreError::NotFound(what)) = self else { return None };
        let steps = [
            ("incident ", "redress incident load FILE"),
            ("published version ", "redress policy publish FILE --as NAME"),
            ("active member of staff ", "redress staff list"),
            ("run ", "redress run list"),
            ("webhook ", "redress webhook list"),
            ("delivery ", "redress deliver --list"),
            ("correction ", "redress credit corrections"),
        ];
        steps.into_iter().find_map(|(begins, step)| what.starts_with(begins).then_some(step))
    }

    /// An error of the machine, with what was tried.
    pub fn io(what: impl std::fmt::Display) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.to_string();
        move |source| Self::Io { what, source }
    }
}

/// The most refused items that a message lists.
const MAX_SHOWN: usize = 20;

fn shown(of: usize, refused: &[ItemRefusal]) -> String {
    let told = |item: &ItemRefusal| format!("{}: {} ({})", item.id, item.detail, item.code);
    if let ([item], 1) = (refused, of) {
        return told(item);
    }
    let mut lines = vec!["nothing was moved, since these are refused:".to_owned()];
    lines.extend(refused.iter().take(MAX_SHOWN).map(|item| format!("  item {}, {}", item.index + 1, told(item))));
    let more = refused.len().saturating_sub(MAX_SHOWN);
    if more > 0 {
        lines.push(format!("  and {more} more"));
    }
    lines.join("\n")
}

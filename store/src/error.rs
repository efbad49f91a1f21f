//! What can go wrong between Redress and its database, told apart by what a caller does about it.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

/// The result of every query function.
pub type StoreResult<T> = Result<T, StoreError>;

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, or no connection came free in time.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// What was asked for does not exist.
    #[error("there is no {0}")]
    NotFound(String),
    /// A named constraint of the database refused the change.
    #[error("{}", constraint_message(.0))]
    Refused(String),
    /// Something else depends on what was to be taken away.
    #[error("{0}")]
    InUse(String),
    /// Another transaction stood in the way; trying again is right.
    #[error("another transaction stood in the way: {0}")]
    Contention(String),
    /// A stored row breaks an invariant of the domain.
    #[error("a stored row is corrupt: {0}")]
    Corrupt(String),
    /// A migration could not be applied.
    #[error("the database could not be migrated: {0}")]
    Migration(String),
    /// Any other error of the database.
    #[error("the database reported an error: {0}")]
    Database(DieselError),
}

impl StoreError {
    /// A corrupt row, with what was wrong with it.
    pub fn corrupt(what: impl std::fmt::Display) -> Self {
        Self::Corrupt(what.to_string())
    }

    /// The name of the constraint that refused the change, if one did.
    #[must_use]
    pub fn constraint(&self) -> Option<&str> {
        match self {
            Self::Refused(name) => Some(name),
            _ => None,
        }
    }
}

/// The one place that says in words what each named constraint means to a person.
fn constraint_message(name: &str) -> String {
    match name {
        "budget_never_negative" => "the budget is used up".into(),
        "policy_version_four_eyes" | "budget_request_four_eyes" | "run_four_eyes" | "correction_four_eyes" => {
            "whoever asked for it may not approve it: a second person has to".into()
        }
        "policy_version_hash_unique" => "this version is published already".into(),
        "budget_request_decided_once" => "this request was decided before".into(),
        "transfer_reversed_once" => "it was reversed before; nothing was moved".into(),
        "credit_never_over" => "that is more than is owed; nothing was moved".into(),
        "transfer_pkey" => "this credit is issued already".into(),
        "run_within_allowance" => "that is more than the run may issue".into(),
        "correction_decided_once" => "this correction was decided before".into(),
        "log_key_used_once" => "this key has signed the log before".into(),
        "run_one_open" => "a run of this incident is open already".into(),
        other => format!("the database refused the change (constraint {other})"),
    }
}

impl From<DieselError> for StoreError {
    fn from(error: DieselError) -> Self {
        match error {
            DieselError::NotFound => Self::NotFound("such row".into()),
            DieselError::DatabaseError(kind, info) => match (kind, info.constraint_name()) {
                (
                    DatabaseErrorKind::UniqueViolation
                    | DatabaseErrorKind::CheckViolation
                    | DatabaseErrorKind::ForeignKeyViolation
                    | DatabaseErrorKind::NotNullViolation,
                    Some(name),
                ) => Self::Refused(name.to_owned()),
                (DatabaseErrorKind::SerializationFailure, _) => Self::Contention(info.message().to_owned()),
                (DatabaseErrorKind::ClosedConnection, _) => Self::Unreachable(one_line(info.message())),
                (DatabaseErrorKind::Unknown, _)
                    if ["deadlock detected", "lock timeout"].iter().any(|why| info.message().contains(why)) =>
                {
                    Self::Contention(info.message().to_owned())
                }
                (DatabaseErrorKind::UnableToSendCommand, _) => Self::Unreachable(one_line(info.message())),
                _ => Self::Database(DieselError::DatabaseError(kind, info)),
            },
            other => Self::Database(other),
        }
    }
}

impl From<diesel::r2d2::PoolError> for StoreError {
    fn from(error: diesel::r2d2::PoolError) -> Self {
        Self::Unreachable(one_line(&error.to_string()))
    }
}

impl From<diesel::ConnectionError> for StoreError {
    fn from(error: diesel::ConnectionError) -> Self {
        Self::Unreachable(one_line(&error.to_string()))
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

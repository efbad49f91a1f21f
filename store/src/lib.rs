//! The only crate of Redress that knows SQL. Query functions take a connection and return domain values or a
//! [`StoreError`]; transactions are opened by [`Store`], so that a use case is one of them or none.

pub mod api_keys;
pub mod audit;
pub mod backup;
pub mod balances;
pub mod budgets;
pub mod claims;
pub mod connection;
pub mod credentials;
pub mod credits;
pub mod decisions;
pub mod deliveries;
pub mod embedded;
pub mod error;
pub mod evidence;
pub mod export;
pub mod failpoint;
pub mod granted;
pub mod guesses;
pub mod health;
pub mod holdings;
pub mod idempotency;
pub mod incidents;
pub mod ledger;
pub mod log;
pub mod mailed_codes;
pub mod messages;
pub mod migrations;
pub mod notices;
pub mod policies;
pub mod run_lifecycle;
pub mod runs;
mod schema;
pub mod search;
pub mod sessions;
pub mod staff;
pub mod summary;
pub mod tasks;
pub mod triage;
pub mod verify;
pub mod webhook_messages;
pub mod webhooks;

pub use connection::{Connection, Store};
pub use error::{StoreError, StoreResult};

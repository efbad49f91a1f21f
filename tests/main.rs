//! Tests through the front door: the program's own commands and its HTTP interface, on a real PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod append_only;
mod audit;
mod backup;
mod books;
mod catalogue;
mod claimants;
mod claims;
mod commands;
mod contract;
mod deliveries;
mod demo;
mod desk;
mod documents;
mod enquiries;
mod evidence;
mod faults;
mod given;
mod harness;
mod intake;
mod issuing;
mod kills;
mod ledger;
mod lessons;
mod limits;
mod mail;
mod oidc;
mod parquet;
mod peer;
mod programmes;
mod rights;
mod rosters;
mod routes;
mod runs;
mod schemathesis;
mod scripts;
mod secrets;
mod seeded;
mod server;
mod sharding;
mod sheets;
mod stacking;
mod staff;
mod tls;
mod webhooks;

//! Tests through the front door: the program's own commands and its HTTP interface, on a real PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod audit;
mod backup;
mod books;
mod catalogue;
mod claimants;
mod claims;
mod commands;
mod contract;
mod demo;
mod desk;
mod documents;
mod evidence;
mod faults;
mod harness;
mod issuing;
mod kills;
mod ledger;
mod limits;
mod mail;
mod oidc;
mod rights;
mod rosters;
mod routes;
mod runs;
mod schemathesis;
mod secrets;
mod seeded;
mod server;
mod sharding;
mod stacking;
mod staff;

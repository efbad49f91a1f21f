//! The only crate that knows SQL.

pub mod embedded;

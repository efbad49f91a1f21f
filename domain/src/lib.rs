//! The pure core of Redress: what an outage was, who held what, what a policy says of it, and how the
//! ledger counts it. No I/O, no clock, no randomness: time and ids are arguments.

pub mod asset;
pub mod claim;
pub mod credit;
pub mod hex_bytes;
pub mod holding;
pub mod id;
pub mod incident;
pub mod incident_file;
pub mod instant;
pub mod ledger;
pub mod log;
pub mod merkle;
pub mod notice;
pub mod notice_clock;
pub mod policy;
pub mod review;
pub mod roster;
pub mod run;
pub mod source;
pub mod window;

pub use asset::{Amount, Asset, AssetClass, AssetCode};
pub use holding::{Attribute, Attributes, Holding};
pub use incident::Incident;
pub use window::Window;

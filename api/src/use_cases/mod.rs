//! What Redress does, as plain functions that the API, the pages and the command line share.

pub mod api_keys;
pub mod audit;
pub mod backup;
pub mod budgets;
pub mod catalogue;
pub mod claimants;
pub mod claims;
pub mod coverage;
pub mod credits;
pub mod deliveries;
pub mod enrolment;
pub mod evidence;
pub mod incidents;
pub mod issue;
pub mod ledger;
pub mod notices;
pub mod once;
pub mod policies;
pub mod reports;
pub mod rosters;
pub mod runs;
pub mod sessions;
pub mod sign_in;
pub mod simulate;
pub mod staff;
pub mod webhooks;

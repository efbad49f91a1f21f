//! The check of the caps over everybody: what they count is what the ledger says.

use super::Query;
use crate::programmes::FAULTS;

pub(super) const QUERIES: &[Query] = &[Query {
    name: "every cap over everybody has counted what the ledger says was credited and not reversed",
    reads: "SELECT count(*) AS rows FROM programme_use",
    faults: FAULTS,
}];

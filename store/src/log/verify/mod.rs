//! Reads the log again, against the rows it speaks of and against its signed heads, and names the row where it fails.
//! Rows are read in pages, so that memory does not grow with the ledger.

mod leaves;
mod transfers;

use diesel::dsl::{count_star, exists, not};
use diesel::prelude::*;
use redress_domain::log::{PublicKey, SignedHead};

use super::{ENTRY, POSTING};
use crate::audit::AuditRow;
use crate::connection::Connection;
use crate::error::StoreResult;
use crate::schema::{audit, log_leaf, posting, posting_seal};
use crate::verify::Check;

/// What the log is held against.
#[derive(Debug, Clone)]
pub struct Trust {
    /// The installation's key.
    pub public_key: PublicKey,
    /// Heads that were kept outside the database, each with the check that it makes.
    pub kept: Vec<(&'static str, SignedHead)>,
}

/// How many rows are read at a time.
const PAGE: i64 = 5_000;

/// Runs every check of the log, in the caller's snapshot.
pub(crate) fn run(connection: &mut Connection, trust: &Trust) -> StoreResult<Vec<Check>> {
    let transfers = transfers::check(connection)?;
    let beside = beside(connection)?;
    let mut checks = vec![transfers, beside];
    checks.extend(leaves::check(connection, trust)?);
    Ok(checks)
}

/// What no leaf has must be on its way into the log: written whole, by Redress.
fn beside(connection: &mut Connection) -> StoreResult<Check> {
    let mut check = Check::new("no audit entry and no posting was slipped in past the log");
    let entries: i64 = audit::table.select(count_star()).first(connection)?;
    let postings: i64 = posting::table.select(count_star()).first(connection)?;
    check.rows = entries + postings;
    let mut last = i64::MIN;
    loop {
        let leaf = log_leaf::table.filter(log_leaf::kind.eq(ENTRY).and(log_leaf::source.eq(audit::id)));
        let rows: Vec<AuditRow> = audit::table
            .filter(audit::id.gt(last).and(not(exists(leaf))))
            .order(audit::id)
            .limit(PAGE)
            .select(AuditRow::as_select())
            .load(connection)?;
        let Some(reached) = rows.last().map(|row| row.id) else { break };
        last = reached;
        for row in rows {
            let id = row.id;
            if row.document().is_none() {
                check.fault(format!("audit entry {id} is in no leaf of the log and was inserted or edited by hand"));
            }
        }
    }
    let seal = posting_seal::table.filter(posting_seal::posting_id.eq(posting::id));
    let unsealed: Vec<i64> = posting::table
        .filter(not(exists(seal)))
        .order(posting::id)
        .limit(crate::verify::MAX_FAULTS)
        .select(posting::id)
        .load(connection)?;
    unsealed
        .iter()
        .for_each(|id| check.fault(format!("posting {id} has no seal: it was inserted, or its seal deleted")));
    let posted = posting::table.filter(posting::id.eq(posting_seal::posting_id));
    let leaf = log_leaf::table.filter(log_leaf::kind.eq(POSTING).and(log_leaf::source.eq(posting_seal::posting_id)));
    let orphans: Vec<i64> = posting_seal::table
        .filter(not(exists(posted)).and(not(exists(leaf))))
        .order(posting_seal::posting_id)
        .limit(crate::verify::MAX_FAULTS)
        .select(posting_seal::posting_id)
        .load(connection)?;
    orphans.iter().for_each(|id| check.fault(format!("posting {id} was deleted: its seal is left")));
    Ok(check)
}

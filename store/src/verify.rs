//! Reads the books again: what the hot path carries by construction is proved here, row by row where it fails.

mod claims;
mod corrections;
mod deliveries;
mod files;
mod flows;
mod levels;
mod programmes;
mod runs;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use crate::connection::Connection;
use crate::error::StoreResult;
use crate::log::verify::Trust;

/// One check and what broke it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Check {
    /// What was checked.
    pub name: &'static str,
    /// How many rows were read for it.
    pub rows: i64,
    /// The rows that break it; at most [`MAX_FAULTS`].
    pub faults: Vec<String>,
}

/// The most faults a check lists.
pub const MAX_FAULTS: i64 = 20;

impl Check {
    /// A check that has read nothing yet.
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, rows: 0, faults: Vec::new() }
    }

    /// Notes a fault, as long as there is room.
    pub(crate) fn fault(&mut self, fault: String) {
        if self.faults.len() < usize::try_from(MAX_FAULTS).unwrap_or(usize::MAX) {
            self.faults.push(fault);
        }
    }
}

#[derive(QueryableByName)]
struct Counted {
    #[diesel(sql_type = BigInt)]
    rows: i64,
}

#[derive(QueryableByName)]
struct Fault {
    #[diesel(sql_type = Text)]
    fault: String,
}

/// A check: its name, what it reads, and a query whose rows say in words what is wrong.
struct Query {
    name: &'static str,
    reads: &'static str,
    faults: &'static str,
}

const QUERIES: &[Query] = &[
    Query {
        name: "every transfer belongs to a posting, to known accounts and their asset, and every credit to a policy",
        reads: "SELECT count(*) AS rows FROM transfer",
        faults: "SELECT format('transfer %s of customer %s: posting %s, accounts %s and %s, asset %s, policy version %s', t.id,
                               t.customer_id, t.posting_id, t.debit_account, t.credit_account, t.asset_id,
                               t.policy_version_id) AS fault
                 FROM transfer t LEFT JOIN posting p ON p.id = t.posting_id
                 LEFT JOIN account d ON d.id = t.debit_account LEFT JOIN account c ON c.id = t.credit_account
                 LEFT JOIN policy_version v ON v.id = t.policy_version_id
                 WHERE p.id IS NULL OR d.asset_id IS DISTINCT FROM t.asset_id OR c.asset_id IS DISTINCT FROM t.asset_id
                    OR (t.code = 2 AND v.id IS NULL)",
    },
    Query {
        name: "the totals of every posting are the sums of its transfers",
        reads: "SELECT count(*) AS rows FROM posting_total",
        faults: "SELECT format('posting %s, accounts %s to %s, code %s: the total says %s in %s transfers, the rows %s in %s',
                               posting_id, debit_account, credit_account, code, coalesce(total.amount, 0),
                               coalesce(total.transfers, 0), coalesce(rows.amount, 0), coalesce(rows.transfers, 0)) AS fault
                 FROM posting_total AS total FULL JOIN (
                     SELECT posting_id, debit_account, credit_account, code, policy_version_id,
                            sum(amount) AS amount, count(*) AS transfers
                     FROM transfer GROUP BY 1, 2, 3, 4, 5) AS rows
                 USING (posting_id, debit_account, credit_account, code, policy_version_id)
                 WHERE total.amount IS DISTINCT FROM rows.amount OR total.transfers IS DISTINCT FROM rows.transfers",
    },
    Query {
        name: "the balances of each asset sum to zero",
        reads: "SELECT count(*) AS rows FROM account",
        faults: "SELECT format('asset %s: the balances sum to %s', asset.code, sum(moved.amount)) AS fault
                 FROM (SELECT credit_account AS account_id, amount FROM posting_total
                       UNION ALL SELECT debit_account, -amount FROM posting_total) AS moved
                 JOIN account ON account.id = moved.account_id JOIN asset ON asset.id = account.asset_id
                 GROUP BY asset.code HAVING sum(moved.amount) <> 0",
    },
    Query {
        name: "every budget equals what the ledger says was approved, issued and given back",
        reads: "SELECT count(*) AS rows FROM budget",
        faults: "SELECT format('budget %s: it says %s approved and %s issued, the ledger %s and %s', budget.id,
                               budget.approved, budget.spent, coalesce(told.approved, 0), coalesce(told.spent, 0)) AS fault
                 FROM budget LEFT JOIN (
                     SELECT account_id, sum(amount) FILTER (WHERE code IN (1, 7)) AS approved,
                            -sum(amount) FILTER (WHERE code NOT IN (1, 7)) AS spent
                     FROM (SELECT credit_account AS account_id, code, amount FROM posting_total
                           UNION ALL SELECT debit_account, code, -amount FROM posting_total) AS moved
                     GROUP BY account_id) AS told ON told.account_id = budget.provision_id
                 WHERE budget.approved <> coalesce(told.approved, 0) OR budget.spent <> coalesce(told.spent, 0)",
    },
    Query {
        name: "every approved budget request is one transfer of its budget, and no other transfer moves a budget",
        reads: "SELECT count(*) AS rows FROM budget_request",
        faults: "SELECT format('budget request %s (%s %s, approved: %s): the ledger has %s %s in transfer %s',
                               coalesce(asked.id::text, 'none'), asked.kind, asked.amount,
                               coalesce(asked.approved, false), moved.code, moved.amount,
                               coalesce(moved.id::text, 'none')) AS fault
                 FROM (SELECT request.id, request.kind, request.amount, request.approved_at IS NOT NULL AS approved,
                              'budget-request/' || request.id AS subject, CASE kind WHEN 'release' THEN 7 ELSE 1 END AS code,
                              CASE kind WHEN 'release' THEN provision_id ELSE expense_id END AS debit,
                              CASE kind WHEN 'release' THEN expense_id ELSE provision_id END AS credit
                       FROM budget_request AS request JOIN budget ON budget.id = request.budget_id) AS asked
                 FULL JOIN (SELECT * FROM transfer WHERE customer_id = '' AND code IN (1, 7)) AS moved
                     ON moved.subject = asked.subject
                 WHERE coalesce(asked.approved, false) <> (moved.id IS NOT NULL)
                    OR (asked.code, asked.amount, asked.debit, asked.credit)
                       <> (moved.code, moved.amount, moved.debit_account, moved.credit_account)",
    },
    Query {
        name: "every issued claim has its credit, and every credited claim is issued",
        reads: "SELECT count(*) AS rows FROM claim WHERE state = 'issued'",
        faults: "SELECT format('claim %s is %s but has %s credits', claim.id, claim.state, count(transfer.id)) AS fault
                 FROM claim LEFT JOIN transfer ON transfer.customer_id = claim.customer_id
                     AND transfer.subject = 'claim/' || claim.id::text AND transfer.code = 2
                 GROUP BY claim.customer_id, claim.id, claim.state
                 HAVING (claim.state = 'issued' AND count(transfer.id) = 0)
                     OR (claim.credited_at IS NULL) <> (count(transfer.id) = 0)",
    },
    Query {
        name: "every chunk that is done has a posting if it credited anybody, and no other chunk has one",
        reads: "SELECT count(*) AS rows FROM run_chunk",
        faults: "SELECT format('run %s, chunk %s: done %s, posting %s', chunk.run_id, chunk.seq,
                               chunk.done_at IS NOT NULL, posting.id) AS fault
                 FROM run_chunk AS chunk
                 LEFT JOIN posting ON posting.run_id = chunk.run_id AND posting.chunk_seq = chunk.seq
                 WHERE (chunk.done_at IS NULL AND posting.id IS NOT NULL)
                    OR (chunk.done_at IS NOT NULL AND (posting.id IS NOT NULL) <> ((chunk.tally ->> 'credits')::bigint > 0))",
    },
    Query {
        name: "every claim has a state that a person or a worker will end",
        reads: "SELECT count(*) AS rows FROM claim",
        faults: "SELECT format('claim %s of customer %s stands in state submitted without an assessment', claim.id,
                               claim.customer_id) AS fault
                 FROM claim WHERE state = 'submitted'",
    },
];

/// Runs every check in one snapshot of the database: the books, then the log over them.
pub fn run(connection: &mut Connection, trust: &Trust) -> StoreResult<Vec<Check>> {
    connection.build_transaction().read_only().repeatable_read().run(|connection| {
        let mut checks: Vec<Check> = QUERIES
            .iter()
            .chain(flows::QUERIES)
            .chain(claims::QUERIES)
            .chain(files::QUERIES)
            .chain(deliveries::QUERIES)
            .chain(runs::QUERIES)
            .chain(programmes::QUERIES)
            .chain(corrections::QUERIES)
            .map(|query| {
                let counted: Counted = diesel::sql_query(query.reads).get_result(connection)?;
                let faults: Vec<Fault> =
                    diesel::sql_query(format!("{} ORDER BY 1 LIMIT {MAX_FAULTS}", query.faults)).load(connection)?;
                Ok(Check {
                    name: query.name,
                    rows: counted.rows,
                    faults: faults.into_iter().map(|fault| fault.fault).collect(),
                })
            })
            .collect::<StoreResult<_>>()?;
        checks.push(levels::check(connection)?);
        checks.extend(crate::log::verify::run(connection, trust)?);
        Ok(checks)
    })
}

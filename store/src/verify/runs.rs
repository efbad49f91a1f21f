//! The checks of runs: what was above a limit was approved by another person, and no run issued more than it might.

use super::Query;

pub(super) const QUERIES: &[Query] = &[
    Query {
        name: "every run above a limit was approved by a second person before it issued anything",
        reads: "SELECT count(*) AS rows FROM run",
        faults: "SELECT format('run %s, started by %s, approved by %s, has issued', run.id, run.started_by,
                               coalesce(run.approved_by, 'nobody')) AS fault
                 FROM run WHERE run.needs_approval AND (run.approved_by IS NULL OR run.approved_by = run.started_by)
                     AND EXISTS (SELECT FROM posting WHERE posting.run_id = run.id)",
    },
    Query {
        name: "every run issued what its allowance says, and no more than it might",
        reads: "SELECT count(*) AS rows FROM run_allowance",
        faults:
            "SELECT format('run %s, asset %s: it may issue %s, its allowance says %s, the ledger %s', allowed.run_id,
                               asset.code, allowed.most, allowed.issued, coalesce(told.amount, 0)) AS fault
                 FROM run_allowance AS allowed JOIN asset ON asset.id = allowed.asset_id
                 LEFT JOIN (SELECT posting.run_id, account.asset_id, sum(posting_total.amount) AS amount
                            FROM posting JOIN posting_total ON posting_total.posting_id = posting.id
                            JOIN account ON account.id = posting_total.credit_account
                            WHERE posting.run_id IS NOT NULL GROUP BY 1, 2) AS told
                     ON told.run_id = allowed.run_id AND told.asset_id = allowed.asset_id
                 WHERE allowed.issued <> coalesce(told.amount, 0) OR allowed.issued > allowed.most",
    },
    Query {
        name: "every run that is done has done every chunk",
        reads: "SELECT count(*) AS rows FROM run WHERE state = 'done'",
        faults: "SELECT format('run %s is done, but %s of its chunks are not', run.id, count(*)) AS fault
                 FROM run JOIN run_chunk ON run_chunk.run_id = run.id
                 WHERE run.state = 'done' AND run_chunk.done_at IS NULL GROUP BY run.id",
    },
];

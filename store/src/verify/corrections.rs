//! The checks of reversals and write-offs: each moved what was asked for, and what was large took two people.

use super::Query;

pub(super) const QUERIES: &[Query] = &[
    Query {
        name: "every correction moved what was asked for, and nothing else was reversed or written off since the first",
        reads: "SELECT count(*) AS rows FROM correction",
        faults: "SELECT format('correction %s, posting %s, asset %s: %s was asked for, %s was moved',
                               coalesce(asked.id::text, 'none'), coalesce(asked.posting_id, moved.posting_id),
                               asset.code, coalesce(asked.amount, 0), coalesce(moved.amount, 0)) AS fault
                 FROM (SELECT correction.id, correction.posting_id, total.asset_id, total.amount
                       FROM correction JOIN correction_total AS total ON total.correction_id = correction.id
                       WHERE correction.posting_id IS NOT NULL) AS asked
                 FULL JOIN (SELECT total.posting_id, account.asset_id, sum(total.amount) AS amount
                            FROM posting_total AS total JOIN account ON account.id = total.debit_account
                            WHERE total.code IN (5, 6) AND total.posting_id >= (SELECT min(posting_id) FROM correction)
                            GROUP BY 1, 2) AS moved
                     ON moved.posting_id = asked.posting_id AND moved.asset_id = asked.asset_id
                 JOIN asset ON asset.id = coalesce(asked.asset_id, moved.asset_id)
                 WHERE asked.amount IS DISTINCT FROM moved.amount",
    },
    Query {
        name: "every correction above a limit was approved by a second person",
        reads: "SELECT count(*) AS rows FROM correction WHERE posting_id IS NOT NULL",
        faults: "SELECT format('correction %s, asked for by %s, approved by %s: %s minor units of %s within a day',
                               told.id, told.asked_by, coalesce(told.approved_by, 'nobody'), told.alone, told.code) AS fault
                 FROM (SELECT correction.*, asset.code, coalesce(bound.most, -1) AS most, bound.set_at,
                              sum(total.amount) FILTER (WHERE NOT needs_approval) OVER (
                                  PARTITION BY asked_by, total.asset_id ORDER BY asked_at
                                  RANGE BETWEEN interval '24 hours' PRECEDING AND CURRENT ROW) AS alone
                       FROM correction JOIN correction_total AS total ON total.correction_id = correction.id
                       JOIN asset ON asset.id = total.asset_id
                       LEFT JOIN signature_limit AS bound ON bound.what = 'correction' AND bound.asset_id = total.asset_id
                       WHERE correction.posting_id IS NOT NULL) AS told
                 WHERE (told.needs_approval AND (told.approved_by IS NULL OR told.approved_by = told.asked_by))
                    OR (NOT told.needs_approval AND told.most >= 0 AND told.asked_at > told.set_at AND told.alone > told.most)",
    },
];

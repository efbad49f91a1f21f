//! The checks of what happened to credits after they were issued: every movement has its transfer, every transfer its
//! movement, chains have no gap, reversals mirror their originals, and accounts are used for what they are for.

use super::Query;

pub(super) const QUERIES: &[Query] = &[
    Query {
        name: "every transfer moves between the kinds of accounts that its code is for",
        reads: "SELECT count(*) AS rows FROM transfer",
        faults: "SELECT format('transfer %s of customer %s: code %s from %s to %s', t.id, t.customer_id, t.code,
                               debit.name, credit.name) AS fault
                 FROM transfer t JOIN account debit ON debit.id = t.debit_account
                 JOIN account credit ON credit.id = t.credit_account
                 WHERE (t.code, debit.kind, credit.kind) NOT IN (
                     (1, 'expense', 'provision'), (2, 'provision', 'owed'), (3, 'owed', 'delivered'),
                     (4, 'owed', 'breakage'), (6, 'owed', 'suspense'),
                     (5, 'owed', 'provision'), (5, 'delivered', 'owed'), (5, 'breakage', 'owed'), (5, 'suspense', 'owed'),
                     (7, 'provision', 'expense'))",
    },
    Query {
        name: "every movement has its transfer, of the same credit, customer, policy and amount",
        reads: "SELECT count(*) AS rows FROM credit_movement",
        faults: "SELECT format('movement %s of credit %s of customer %s: its transfer %s is missing or says otherwise',
                               m.seq, m.credit_id, m.customer_id, m.transfer_id) AS fault
                 FROM credit_movement m
                 LEFT JOIN transfer c ON c.customer_id = m.customer_id AND c.id = m.credit_id AND c.code = 2
                 LEFT JOIN transfer t ON t.customer_id = m.customer_id AND t.id = m.transfer_id
                 WHERE c.id IS NULL OR t.id IS NULL OR c.amount <> m.issued OR t.amount <> m.amount OR t.code <> m.code
                    OR t.policy_version_id <> c.policy_version_id OR t.asset_id <> c.asset_id",
    },
    Query {
        name: "every delivery, expiry, write-off and reversal in the ledger is one movement of one credit",
        reads: "SELECT count(*) AS rows FROM transfer WHERE code BETWEEN 3 AND 6",
        faults: "SELECT format('transfer %s of customer %s: code %s, %s movements', t.id, t.customer_id, t.code,
                               count(m.seq)) AS fault
                 FROM transfer t
                 LEFT JOIN credit_movement m ON m.customer_id = t.customer_id AND m.transfer_id = t.id
                 WHERE t.code BETWEEN 3 AND 6 GROUP BY t.customer_id, t.id, t.code HAVING count(m.seq) <> 1",
    },
    Query {
        name: "what happened to a credit is a chain without a gap that never goes below nothing or above what was issued",
        reads: "SELECT count(*) AS rows FROM credit_movement",
        faults: "SELECT format('movement %s of credit %s of customer %s: %s owed before, %s after, %s in the one before it',
                               seq, credit_id, customer_id, owed_before, owed_after, owed) AS fault
                 FROM (SELECT *, coalesce(lag(owed_after) OVER chain, issued) AS owed, row_number() OVER chain AS place
                       FROM credit_movement
                       WINDOW chain AS (PARTITION BY customer_id, credit_id ORDER BY seq)) AS linked
                 WHERE seq <> place OR owed_before <> owed OR owed_after NOT BETWEEN 0 AND issued
                    OR abs(owed_before - owed_after) <> amount OR (code <> 5 AND owed_after >= owed_before)",
    },
    Query {
        name: "every reversal mirrors one original that is no reversal, for no more, and no original has two",
        reads: "SELECT count(*) AS rows FROM transfer WHERE code = 5",
        faults: "SELECT format('reversal %s of customer %s: its original %s is missing, smaller, between other accounts, or reversed twice',
                               t.id, t.customer_id, m.original_id) AS fault
                 FROM transfer t
                 JOIN credit_movement m ON m.customer_id = t.customer_id AND m.transfer_id = t.id
                 LEFT JOIN transfer o ON o.customer_id = m.customer_id AND o.id = m.original_id
                 LEFT JOIN credit_movement om ON om.customer_id = m.customer_id AND om.transfer_id = m.original_id
                 WHERE t.code = 5 AND (o.id IS NULL OR o.code IN (1, 5) OR o.amount < t.amount
                    OR (t.debit_account, t.credit_account) IS DISTINCT FROM (o.credit_account, o.debit_account)
                    OR coalesce(om.credit_id, o.id) <> m.credit_id
                    OR EXISTS (SELECT FROM credit_movement other WHERE other.customer_id = m.customer_id
                               AND other.original_id = m.original_id AND other.transfer_id <> m.transfer_id))",
    },
];

//! The checks of what claimants filed: every file belongs to a claim, and nothing stands half-way for ever.

use super::Query;

pub(super) const QUERIES: &[Query] = &[
    Query {
        name: "every piece of evidence belongs to a claim of its customer",
        reads: "SELECT count(*) AS rows FROM evidence",
        faults: "SELECT format('evidence %s of customer %s: there is no claim %s of his', evidence.id,
                               evidence.customer_id, evidence.claim_id) AS fault
                 FROM evidence LEFT JOIN claim ON claim.customer_id = evidence.customer_id AND claim.id = evidence.claim_id
                 WHERE claim.id IS NULL",
    },
    Query {
        name: "every stored piece of evidence stands in the log",
        reads: "SELECT count(*) AS rows FROM evidence WHERE state = 'stored'",
        faults: "SELECT format('evidence %s of claim %s has %s audit entries with its hash', evidence.id,
                               evidence.claim_id, count(audit.id)) AS fault
                 FROM evidence LEFT JOIN audit ON audit.object = 'claim ' || evidence.claim_id::text
                     AND audit.action = 'evidence.add' AND audit.detail ->> 'evidence' = evidence.id::text
                     AND audit.detail ->> 'sha256' = encode(evidence.content_hash, 'hex')
                 WHERE evidence.state = 'stored'
                 GROUP BY evidence.customer_id, evidence.id, evidence.claim_id HAVING count(audit.id) <> 1",
    },
];

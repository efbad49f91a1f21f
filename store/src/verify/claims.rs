//! What must be true of claims on their way through people's hands.

use super::Query;

/// The checks.
pub(super) const QUERIES: &[Query] = &[
    Query {
        name: "every claim that a person has to look at stands on the desk, and no other does",
        reads: "SELECT count(*) AS rows FROM task",
        faults: "SELECT format('claim %s of customer %s is %s and %s', coalesce(claim.id, task.claim_id),
                               coalesce(claim.customer_id, task.customer_id), coalesce(claim.state, 'gone'),
                               CASE WHEN task.is_open THEN 'stands on the desk' ELSE 'does not stand on the desk' END) AS fault
                 FROM claim FULL JOIN task ON task.customer_id = claim.customer_id AND task.claim_id = claim.id
                 WHERE (claim.id IS NULL)
                    OR (coalesce(claim.state, '') IN ('in_review', 'needs_information'))
                       <> (coalesce(task.is_open, false) AND task.queue <> 'letter')
                    OR (claim.state = 'needs_information') <> (task.due_at IS NOT NULL)",
    },
    Query {
        name: "every decision that holds is of a claim that it was decided for, and no two wait",
        reads: "SELECT count(*) AS rows FROM decision",
        faults: "SELECT format('decision %s of claim %s: the claim is %s', last.seq, claim.id, claim.state) AS fault
                 FROM claim JOIN LATERAL (
                     SELECT * FROM decision WHERE decision.customer_id = claim.customer_id AND decision.claim_id = claim.id
                       AND in_force_at IS NOT NULL ORDER BY seq DESC LIMIT 1) AS last ON true
                 WHERE (claim.state = 'approved' AND last.outcome <> 'approve')
                    OR (claim.state = 'partly_approved' AND last.outcome <> 'part')
                    OR (claim.state = 'declined' AND last.outcome <> 'decline')",
    },
    Query {
        name: "every claim that was credited was credited under one policy",
        reads: "SELECT count(*) AS rows FROM claim WHERE credited_at IS NOT NULL",
        faults: "SELECT format('%s of customer %s was credited under %s', credit.subject, credit.customer_id,
                               string_agg(DISTINCT policy.name, ' and ')) AS fault
                 FROM transfer AS credit JOIN policy_version AS version ON version.id = credit.policy_version_id
                 JOIN policy ON policy.id = version.policy_id
                 WHERE credit.code = 2 AND credit.subject LIKE 'claim/%'
                 GROUP BY credit.customer_id, credit.subject HAVING count(DISTINCT policy.id) > 1",
    },
    Query {
        name: "every appeal is open while its claim is read, and answered otherwise",
        reads: "SELECT count(*) AS rows FROM appeal",
        faults: "SELECT format('appeal against %s of claim %s: the claim is %s, the appeal %s', appeal.against, appeal.claim_id,
                               coalesce(claim.state, 'gone'), CASE WHEN appeal.read_at IS NULL THEN 'open' ELSE 'read' END) AS fault
                 FROM appeal LEFT JOIN claim ON claim.customer_id = appeal.customer_id AND claim.id = appeal.claim_id
                 WHERE claim.id IS NULL OR (appeal.read_at IS NULL
                       AND claim.state NOT IN ('in_review', 'needs_information', 'withdrawn'))",
    },
    Query {
        name: "every merged claim points to one of the same customer",
        reads: "SELECT count(*) AS rows FROM claim WHERE duplicate_of IS NOT NULL",
        faults: "SELECT format('claim %s is merged into %s, which is not there', second.id, second.duplicate_of) AS fault
                 FROM claim AS second LEFT JOIN claim AS first
                     ON first.customer_id = second.customer_id AND first.id = second.duplicate_of
                 WHERE second.duplicate_of IS NOT NULL AND first.id IS NULL",
    },
];

//! The checks of what services are told: every credit of a posting that was cut is in one batch, and no batch ended while a
//! credit that the service was told of lacks its answer.

use super::Query;

pub(super) const QUERIES: &[Query] = &[
    Query {
        name: "the deliveries of a posting and service have each of its credits, and as many as they say",
        reads: "SELECT count(*) AS rows FROM delivery WHERE retry_of IS NULL",
        faults: "SELECT format('posting %s, service %s: its deliveries have %s credits, the books %s', cut.posting_id,
                               cut.service_id, cut.credits, coalesce(issued.credits, 0)) AS fault
                 FROM (SELECT posting_id, service_id, sum(credits) AS credits FROM delivery
                       WHERE retry_of IS NULL GROUP BY 1, 2) AS cut
                 LEFT JOIN (SELECT total.posting_id, budget.service_id, sum(total.transfers) AS credits
                            FROM posting_total AS total JOIN budget ON budget.provision_id = total.debit_account
                            WHERE total.code = 2 GROUP BY 1, 2) AS issued USING (posting_id, service_id)
                 WHERE cut.credits IS DISTINCT FROM issued.credits",
    },
    Query {
        name: "every credit of a delivery that ended was granted, refused, or taken out of what is owed",
        reads: "SELECT count(*) AS rows FROM delivery WHERE state IN ('done', 'refused', 'retried')",
        faults: "SELECT format('delivery %s is %s: credit %s of customer %s is owed and has no answer', batch.id, batch.state,
                               credit.id, credit.customer_id) AS fault
                 FROM delivery AS batch
                 JOIN budget ON budget.service_id = batch.service_id
                 JOIN transfer AS credit ON credit.posting_id = batch.posting_id AND credit.code = 2
                      AND credit.debit_account = budget.provision_id
                      AND (credit.customer_id, credit.id) >= (batch.first_customer, batch.first_credit)
                      AND (credit.customer_id, credit.id) <= (batch.last_customer, batch.last_credit)
                 LEFT JOIN credit_movement AS moved ON moved.customer_id = credit.customer_id
                      AND moved.credit_id = credit.id
                 LEFT JOIN delivery_refusal AS no ON no.customer_id = credit.customer_id AND no.credit_id = credit.id
                 WHERE batch.state IN ('done', 'refused', 'retried') AND batch.retry_of IS NULL
                   AND moved.seq IS NULL AND no.credit_id IS NULL",
    },
];

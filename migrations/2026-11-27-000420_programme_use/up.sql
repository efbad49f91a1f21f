-- What everybody has had under a policy with a cap over the programme is what the ledger says: reversals count from now
-- on, and those that were made before are counted here. A place belongs to what a customer was credited first, and is
-- free again when all of that is reversed (store/src/programmes.rs has the words).
UPDATE programme_use SET takers = coalesce(told.takers, 0), amount = coalesce(told.amount, 0)
FROM programme_use AS counted LEFT JOIN (
    SELECT policy_id, asset_id, count(*) FILTER (WHERE holds_place) AS takers, sum(kept) AS amount
    FROM (SELECT policy_id, asset_id, customer_id, sum(kept) AS kept,
                 bool_or(kept > 0 AND posting_id = first_posting) AS holds_place
          FROM (SELECT version.policy_id, issued.asset_id, issued.customer_id, issued.posting_id,
                       issued.amount - coalesce(back.amount, 0) AS kept,
                       min(issued.posting_id) OVER (PARTITION BY version.policy_id, issued.asset_id, issued.customer_id)
                           AS first_posting
                FROM transfer AS issued JOIN policy_version AS version ON version.id = issued.policy_version_id
                LEFT JOIN credit_movement AS back
                    ON back.customer_id = issued.customer_id AND back.original_id = issued.id
                WHERE issued.code = 2 AND (version.policy_id, issued.asset_id) IN
                    (SELECT policy_id, asset_id FROM programme_use)) AS credit
          GROUP BY policy_id, asset_id, customer_id) AS taker
    GROUP BY policy_id, asset_id) AS told USING (policy_id, asset_id)
WHERE programme_use.policy_id = counted.policy_id AND programme_use.asset_id = counted.asset_id;

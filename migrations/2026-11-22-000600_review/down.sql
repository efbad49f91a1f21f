DROP TABLE second_reading, claim_trait, triage, message, appeal, decision, task;
DROP INDEX claim_granted, claim_by_service_state, claim_once;
ALTER TABLE claim
    DROP CONSTRAINT claim_merged_is_closed,
    DROP CONSTRAINT claim_credited_stays,
    DROP COLUMN kind,
    DROP COLUMN channel,
    DROP COLUMN loss,
    DROP COLUMN duplicate_of,
    DROP COLUMN credited_at,
    ADD CONSTRAINT claim_reference_unique UNIQUE (customer_id, reference);
CREATE INDEX claim_granted ON claim (incident_id, customer_id)
    WHERE state IN ('approved', 'partly_approved', 'issued', 'closed');

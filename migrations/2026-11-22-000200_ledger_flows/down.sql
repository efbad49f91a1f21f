-- Refused once a credit has moved: the ledger's history is not for a migration to destroy.
DO $$
BEGIN
    IF EXISTS (SELECT FROM credit_movement) THEN
        RAISE EXCEPTION 'credits were delivered, expired or reversed: their history would be lost';
    END IF;
END
$$;
GRANT UPDATE, DELETE ON account, asset, budget, budget_request, policy, incident, service TO redress_app;
ALTER TABLE budget_request
    DROP CONSTRAINT budget_request_decided_once,
    DROP CONSTRAINT budget_request_rejection_whole,
    DROP COLUMN rejected_at,
    DROP COLUMN rejected_by;
ALTER TABLE transfer DROP CONSTRAINT transfer_customer_named, DROP CONSTRAINT transfer_code_known;
ALTER TABLE posting_total DROP CONSTRAINT posting_total_code_known;
ALTER TABLE posting_total ALTER CONSTRAINT posting_total_posting_id_fkey NOT DEFERRABLE;
ALTER TABLE posting ALTER COLUMN id SET GENERATED ALWAYS;
DROP TABLE credit_movement;

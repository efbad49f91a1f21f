-- Refused once a budget was released: the ledger's history is not for a migration to destroy.
DO $$
BEGIN
    IF EXISTS (SELECT FROM budget_request WHERE kind <> 'authorise') THEN
        RAISE EXCEPTION 'budgets were released: their history would be lost';
    END IF;
END
$$;
ALTER TABLE transfer
    DROP CONSTRAINT transfer_customer_named,
    ADD CONSTRAINT transfer_customer_named CHECK ((code = 1) = (customer_id = '')) NOT VALID,
    DROP CONSTRAINT transfer_code_known,
    ADD CONSTRAINT transfer_code_known CHECK (code BETWEEN 1 AND 6) NOT VALID;
ALTER TABLE posting_total
    DROP CONSTRAINT posting_total_code_known,
    ADD CONSTRAINT posting_total_code_known CHECK (code BETWEEN 1 AND 6);
ALTER TABLE budget_request DROP COLUMN kind;

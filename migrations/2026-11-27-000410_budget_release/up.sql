-- What a budget has left can be given back: asked for by one person and approved by another, like the budget itself, and
-- recorded as a transfer from its provision to its expense (code 7). The budget's own row refuses to give back more than
-- is left (`budget_never_negative`), whatever a run takes at the same moment.
ALTER TABLE budget_request
    ADD COLUMN kind text NOT NULL DEFAULT 'authorise'
        CONSTRAINT budget_request_kind_known CHECK (kind IN ('authorise', 'release'));

ALTER TABLE posting_total
    DROP CONSTRAINT posting_total_code_known,
    ADD CONSTRAINT posting_total_code_known CHECK (code BETWEEN 1 AND 7);
-- What is there has a code of 1 to 6, as the constraint that goes says: it is not read again.
ALTER TABLE transfer
    DROP CONSTRAINT transfer_code_known,
    ADD CONSTRAINT transfer_code_known CHECK (code BETWEEN 1 AND 7) NOT VALID,
    DROP CONSTRAINT transfer_customer_named,
    ADD CONSTRAINT transfer_customer_named CHECK ((code IN (1, 7)) = (customer_id = '')) NOT VALID;

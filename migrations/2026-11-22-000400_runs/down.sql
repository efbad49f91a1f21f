GRANT UPDATE, DELETE ON run TO redress_app;
DROP TABLE run_allowance, run_limit;
DROP INDEX run_one_open;
UPDATE run SET state = 'done' WHERE state = 'cancelled';
UPDATE run SET state = 'stopped' WHERE state NOT IN ('running', 'done');
ALTER TABLE run
    DROP COLUMN plan, DROP COLUMN plan_hash, DROP COLUMN needs_approval, DROP COLUMN approved_by,
    DROP COLUMN approved_at, DROP COLUMN served, DROP COLUMN request_key,
    DROP CONSTRAINT run_state_known,
    ADD CONSTRAINT run_state_known CHECK (state IN ('running', 'stopped', 'done'));
CREATE UNIQUE INDEX run_one_open ON run (incident_id) WHERE state <> 'done';

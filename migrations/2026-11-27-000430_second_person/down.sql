-- Refused once anything was corrected: who asked and who approved is history.
DO $$
BEGIN
    IF EXISTS (SELECT FROM correction) THEN
        RAISE EXCEPTION 'credits were reversed or written off: who asked and who approved would be lost';
    END IF;
END
$$;
DROP TABLE correction_total, correction;
CREATE TABLE run_limit (
    asset_id integer PRIMARY KEY REFERENCES asset,
    most     bigint NOT NULL CONSTRAINT run_limit_positive CHECK (most >= 0),
    set_by   text NOT NULL REFERENCES staff,
    set_at   timestamptz NOT NULL
);
INSERT INTO run_limit SELECT asset_id, most, set_by, set_at FROM signature_limit WHERE what = 'run';
DROP TABLE signature_limit;
GRANT SELECT, INSERT, UPDATE, DELETE ON run_limit TO redress_app;

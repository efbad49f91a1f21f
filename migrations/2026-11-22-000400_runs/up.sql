-- The life of a run: planned → approved → running ⇄ paused or stopped → done, or cancelled at any point before.
-- A run above a limit waits for a second person, whose approval is bound to the plan's hash; and no run ever issues
-- more of an asset than it was allowed, whatever was granted since it was planned.
ALTER TABLE run
    DROP CONSTRAINT run_state_known,
    ADD COLUMN plan jsonb,
    ADD COLUMN plan_hash text,
    ADD COLUMN needs_approval boolean NOT NULL DEFAULT false,
    ADD COLUMN approved_by text REFERENCES staff,
    ADD COLUMN approved_at timestamptz,
    ADD COLUMN served boolean NOT NULL DEFAULT false,
    ADD COLUMN request_key text CONSTRAINT run_request_once UNIQUE,
    ADD CONSTRAINT run_state_known CHECK
        (state IN ('planned', 'approved', 'running', 'paused', 'stopped', 'cancelled', 'done')),
    ADD CONSTRAINT run_plan_whole CHECK ((plan IS NULL) = (plan_hash IS NULL)),
    ADD CONSTRAINT run_approval_whole CHECK ((approved_by IS NULL) = (approved_at IS NULL)),
    ADD CONSTRAINT run_four_eyes CHECK (approved_by <> started_by),
    ADD CONSTRAINT run_asker_named CHECK (NOT needs_approval OR started_by <> 'system'),
    ADD CONSTRAINT run_waits_for_approval CHECK
        (NOT needs_approval OR approved_at IS NOT NULL OR state IN ('planned', 'cancelled'));
DROP INDEX run_one_open;
CREATE UNIQUE INDEX run_one_open ON run (incident_id) WHERE state NOT IN ('done', 'cancelled');

-- Above this much of an asset a run waits for a second person; no row, no limit.
CREATE TABLE run_limit (
    asset_id integer PRIMARY KEY REFERENCES asset,
    most     bigint NOT NULL CONSTRAINT run_limit_positive CHECK (most >= 0),
    set_by   text NOT NULL REFERENCES staff,
    set_at   timestamptz NOT NULL
);

-- What a run may issue of an asset: the limit, or what was approved. Touched once a chunk; no row, no bound.
CREATE TABLE run_allowance (
    run_id   bigint NOT NULL REFERENCES run,
    asset_id integer NOT NULL REFERENCES asset,
    most     bigint NOT NULL,
    issued   bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (run_id, asset_id),
    CONSTRAINT run_within_allowance CHECK (issued >= 0 AND issued <= most)
);

-- What was planned and by whom never changes; what happens to it does.
GRANT SELECT, INSERT, UPDATE, DELETE ON run_limit TO redress_app;
GRANT SELECT, INSERT ON run_allowance TO redress_app;
GRANT UPDATE (issued) ON run_allowance TO redress_app;
REVOKE UPDATE, DELETE ON run FROM redress_app;
GRANT UPDATE (state, note, ended_at, approved_by, approved_at, served) ON run TO redress_app;

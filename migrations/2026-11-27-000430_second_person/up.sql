-- Above so much of an asset it takes a second person; no row, no limit. Of runs, as before; of reversals and write-offs;
-- and of decisions on claims, where it says how much of an asset weighs as much as the money that an agent decides alone.
CREATE TABLE signature_limit (
    what     text NOT NULL CONSTRAINT signature_limit_known CHECK (what IN ('run', 'correction', 'decision')),
    asset_id integer NOT NULL REFERENCES asset,
    most     bigint NOT NULL CONSTRAINT signature_limit_positive CHECK (most >= 0),
    set_by   text NOT NULL REFERENCES staff,
    set_at   timestamptz NOT NULL,
    PRIMARY KEY (what, asset_id)
);
INSERT INTO signature_limit (what, asset_id, most, set_by, set_at)
    SELECT 'run', asset_id, most, set_by, set_at FROM run_limit;
DROP TABLE run_limit;

-- A reversal or a write-off: what was asked and by whom never changes. Below the limit it is done at once; above it, it
-- waits for a second person. What is done has its posting.
CREATE TABLE correction (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind           text NOT NULL CONSTRAINT correction_kind_known CHECK (kind IN ('reverse', 'write-off')),
    items          jsonb NOT NULL CONSTRAINT correction_items_listed CHECK (jsonb_typeof(items) = 'array'),
    items_hash     bytea NOT NULL,
    reason         text NOT NULL CONSTRAINT correction_has_reason CHECK (reason <> ''),
    effective_on   date NOT NULL,
    asked_by       text NOT NULL REFERENCES staff,
    asked_at       timestamptz NOT NULL,
    needs_approval boolean NOT NULL,
    approved_by    text REFERENCES staff,
    approved_at    timestamptz,
    rejected_by    text REFERENCES staff,
    rejected_at    timestamptz,
    posting_id     bigint CONSTRAINT correction_posted_once UNIQUE,
    CONSTRAINT correction_four_eyes CHECK (approved_by <> asked_by),
    CONSTRAINT correction_approval_whole CHECK ((approved_by IS NULL) = (approved_at IS NULL)),
    CONSTRAINT correction_rejection_whole CHECK ((rejected_by IS NULL) = (rejected_at IS NULL)),
    CONSTRAINT correction_decided_once CHECK (approved_at IS NULL OR rejected_at IS NULL),
    CONSTRAINT correction_done_when_approved
        CHECK ((posting_id IS NOT NULL) = (approved_at IS NOT NULL OR NOT needs_approval))
);
-- Asked for twice it waits once.
CREATE UNIQUE INDEX correction_waits_once ON correction (items_hash) WHERE posting_id IS NULL AND rejected_at IS NULL;
CREATE INDEX correction_by_person ON correction (asked_by, asked_at) WHERE NOT needs_approval;

-- How much of each asset it moves.
CREATE TABLE correction_total (
    correction_id bigint NOT NULL REFERENCES correction,
    asset_id      integer NOT NULL REFERENCES asset,
    amount        bigint NOT NULL CONSTRAINT correction_total_positive CHECK (amount > 0),
    PRIMARY KEY (correction_id, asset_id)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON signature_limit TO redress_app;
GRANT SELECT, INSERT ON correction, correction_total TO redress_app;
GRANT UPDATE (approved_by, approved_at, rejected_by, rejected_at, posting_id) ON correction TO redress_app;

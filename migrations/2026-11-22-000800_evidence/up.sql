-- What a claimant files with a claim. The file itself lies sealed in the object store under `blob`; its row is written
-- first (`arriving`), so that what was never acknowledged is found again and swept, and what was is never swept.

CREATE TABLE evidence (
    customer_id   text COLLATE "C" NOT NULL,
    id            uuid NOT NULL,
    claim_id      uuid NOT NULL,
    document      text COLLATE "C" NOT NULL,
    kind          text NOT NULL CONSTRAINT evidence_kind_known CHECK (kind IN ('jpeg', 'png', 'pdf')),
    bytes         bigint NOT NULL CONSTRAINT evidence_not_empty CHECK (bytes > 0),
    received_hash bytea NOT NULL,
    content_hash  bytea NOT NULL,
    blob          text COLLATE "C" NOT NULL,
    remarks       jsonb NOT NULL,
    state         text NOT NULL CONSTRAINT evidence_state_known CHECK (state IN ('arriving', 'stored', 'swept')),
    begun_at      timestamptz NOT NULL,
    stored_at     timestamptz,
    PRIMARY KEY (customer_id, id),
    -- The same file for the same document of the same claim is one piece of evidence, however often it is sent.
    CONSTRAINT evidence_once UNIQUE (customer_id, claim_id, document, received_hash),
    CONSTRAINT evidence_stored_at_a_time CHECK ((state = 'stored') = (stored_at IS NOT NULL))
);
CREATE INDEX evidence_unacknowledged ON evidence (begun_at) WHERE state <> 'stored';

GRANT SELECT, INSERT, UPDATE, DELETE ON evidence TO redress_app;

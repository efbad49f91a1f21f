-- Who of the staff has a claim open. Worth nothing after a minute, so it is not written to the log; a crash empties it.
CREATE UNLOGGED TABLE looking (
    customer_id text COLLATE "C" NOT NULL,
    claim_id    uuid NOT NULL,
    staff       text COLLATE "C" NOT NULL,
    seen_at     timestamptz NOT NULL,
    PRIMARY KEY (customer_id, claim_id, staff)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON looking TO redress_app;

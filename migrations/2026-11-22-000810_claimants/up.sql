-- Claimants who come back without their token: by a code sent to the address that a claim has. Addresses are found again
-- by a keyed hash; nobody without the master key can tell whose it is.

ALTER TABLE personal ADD COLUMN address text COLLATE "C";
CREATE INDEX personal_by_address ON personal (address) WHERE address IS NOT NULL;

-- Asked for by anybody, for any address: rows are the same whether the address is known or not, and only the worker that
-- sends them looks. A code is made when it is sent, and only its hash is kept.
CREATE TABLE mailed_code (
    address    text COLLATE "C" PRIMARY KEY,
    sealed     bytea NOT NULL,
    state      text NOT NULL CONSTRAINT mailed_code_state_known CHECK (state IN ('queued', 'sent', 'dead')),
    code_hash  text,
    tries      integer NOT NULL DEFAULT 0,
    sends      integer NOT NULL DEFAULT 0,
    asked      integer NOT NULL,
    hour_from  timestamptz NOT NULL,
    asked_at   timestamptz NOT NULL,
    next_at    timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT mailed_code_tries_bounded CHECK (tries BETWEEN 0 AND 5)
);
CREATE INDEX mailed_code_queue ON mailed_code (next_at) WHERE state = 'queued';
CREATE INDEX mailed_code_over ON mailed_code (expires_at);

GRANT SELECT, INSERT, UPDATE, DELETE ON mailed_code TO redress_app;

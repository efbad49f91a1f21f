-- The log: every audit entry and every posting is a leaf of one Merkle tree (RFC 6962) whose heads are signed.
-- What a transaction leaves behind is hashed in it; the leaves are numbered afterwards by one sealer, so that
-- parallel workers never wait for each other.

-- What the entry says, hashed by whoever wrote it; and what it changed, before and after.
ALTER TABLE audit
    ADD COLUMN before_hash bytea,
    ADD COLUMN after_hash bytea,
    ADD COLUMN hash bytea;
CREATE INDEX audit_by_object ON audit (object);

-- A posting's own tree over its transfers: written with them, in their transaction.
CREATE TABLE posting_seal (
    posting_id     bigint PRIMARY KEY,
    transfers      bigint NOT NULL CONSTRAINT posting_seal_counted CHECK (transfers > 0),
    root           bytea NOT NULL,
    salt           bytea NOT NULL,
    first_customer text COLLATE "C" NOT NULL,
    last_customer  text COLLATE "C" NOT NULL,
    marks          bytea NOT NULL
);
-- Hashes do not compress; trying costs more than it could save.
ALTER TABLE posting_seal ALTER COLUMN marks SET STORAGE EXTERNAL;

-- The leaves in their order. Kind 1 is an audit entry, kind 2 a posting with the text that was hashed.
CREATE TABLE log_leaf (
    seq      bigint PRIMARY KEY CONSTRAINT log_leaf_from_zero CHECK (seq >= 0),
    kind     smallint NOT NULL CONSTRAINT log_leaf_kind_known CHECK (kind IN (1, 2)),
    source   bigint NOT NULL,
    hash     bytea NOT NULL,
    document text,
    CONSTRAINT log_leaf_once UNIQUE (kind, source)
);

-- The roots of complete subtrees of 256, 65,536, … leaves, so that a proof reads a few hundred rows of any log.
CREATE TABLE log_node (
    level smallint NOT NULL,
    place bigint NOT NULL,
    hash  bytea NOT NULL,
    PRIMARY KEY (level, place)
);

CREATE TABLE log_head (
    size       bigint PRIMARY KEY,
    root       bytea NOT NULL,
    at         text NOT NULL,
    public_key bytea NOT NULL,
    signature  bytea NOT NULL
);

-- These only grow.
GRANT SELECT, INSERT ON posting_seal, log_leaf, log_node, log_head TO redress_app;

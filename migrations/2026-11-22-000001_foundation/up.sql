-- Reference tables are small and stand on every machine; per-customer tables carry customer_id in every
-- unique key and have no foreign key to each other, so that an engine that shards by customer can spread them.

CREATE TABLE service (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name         text COLLATE "C" NOT NULL CONSTRAINT service_name_unique UNIQUE,
    organisation text NOT NULL,
    title_ko     text NOT NULL,
    title_en     text NOT NULL
);

CREATE TABLE incident (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text COLLATE "C" NOT NULL CONSTRAINT incident_name_unique UNIQUE,
    title_ko    text NOT NULL,
    title_en    text NOT NULL,
    cause_ko    text NOT NULL,
    cause_en    text NOT NULL,
    source_hash text NOT NULL,
    loaded_at   timestamptz NOT NULL
);

CREATE TABLE impact (
    incident_id integer NOT NULL REFERENCES incident,
    service_id  integer NOT NULL REFERENCES service,
    starts_at   timestamptz NOT NULL,
    ends_at     timestamptz NOT NULL,
    severity    text NOT NULL CONSTRAINT impact_severity_known CHECK (severity IN ('degraded', 'unavailable')),
    PRIMARY KEY (incident_id, service_id, starts_at),
    CONSTRAINT impact_window_ordered CHECK (starts_at < ends_at)
);

CREATE TABLE asset (
    id    integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code  text COLLATE "C" NOT NULL CONSTRAINT asset_code_unique UNIQUE,
    class text NOT NULL CONSTRAINT asset_class_known
          CHECK (class IN ('money', 'cash', 'points', 'time', 'coupon', 'item')),
    scale smallint NOT NULL CONSTRAINT asset_scale_bounded CHECK (scale BETWEEN 0 AND 6)
);

CREATE TABLE staff (
    name       text COLLATE "C" PRIMARY KEY,
    role       text NOT NULL CONSTRAINT staff_role_known CHECK (role IN
               ('agent', 'lead', 'policy_author', 'policy_approver', 'finance', 'auditor', 'administrator')),
    added_at   timestamptz NOT NULL,
    revoked_at timestamptz
);

CREATE TABLE policy (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id integer NOT NULL REFERENCES incident,
    name        text COLLATE "C" NOT NULL,
    service_id  integer NOT NULL REFERENCES service,
    basis       text NOT NULL CONSTRAINT policy_basis_known
                CHECK (basis IN ('automatic', 'claim', 'on_request', 'undecided')),
    CONSTRAINT policy_name_unique UNIQUE (incident_id, name)
);

-- A version is its source, byte for byte; its content hash is its name and nothing may change it.
CREATE TABLE policy_version (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    policy_id    integer NOT NULL REFERENCES policy,
    hash         text NOT NULL,
    source       text NOT NULL,
    published_by text NOT NULL REFERENCES staff,
    published_at timestamptz NOT NULL,
    approved_by  text REFERENCES staff,
    approved_at  timestamptz,
    retired_at   timestamptz,
    CONSTRAINT policy_version_hash_unique UNIQUE (policy_id, hash),
    CONSTRAINT policy_version_four_eyes CHECK (approved_by <> published_by),
    CONSTRAINT policy_version_approval_whole CHECK ((approved_by IS NULL) = (approved_at IS NULL))
);
CREATE UNIQUE INDEX policy_version_one_in_force ON policy_version (policy_id)
    WHERE approved_at IS NOT NULL AND retired_at IS NULL;

-- The chart of accounts. A customer's own account is the `owed` account together with the customer_id of the transfer.
CREATE TABLE account (
    id       integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name     text COLLATE "C" NOT NULL CONSTRAINT account_name_unique UNIQUE,
    kind     text NOT NULL CONSTRAINT account_kind_known
             CHECK (kind IN ('expense', 'provision', 'owed', 'delivered', 'breakage', 'suspense')),
    asset_id integer NOT NULL REFERENCES asset
);

CREATE TABLE budget (
    id            integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id   integer NOT NULL REFERENCES incident,
    service_id    integer NOT NULL REFERENCES service,
    asset_id      integer NOT NULL REFERENCES asset,
    expense_id    integer NOT NULL REFERENCES account,
    provision_id  integer NOT NULL REFERENCES account,
    approved      bigint NOT NULL DEFAULT 0,
    spent         bigint NOT NULL DEFAULT 0,
    CONSTRAINT budget_unique UNIQUE (incident_id, service_id, asset_id),
    CONSTRAINT budget_never_negative CHECK (spent >= 0 AND spent <= approved)
);

CREATE TABLE budget_request (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    budget_id     integer NOT NULL REFERENCES budget,
    amount        bigint NOT NULL CONSTRAINT budget_request_positive CHECK (amount > 0),
    authorised_by text NOT NULL REFERENCES staff,
    authorised_at timestamptz NOT NULL,
    approved_by   text REFERENCES staff,
    approved_at   timestamptz,
    CONSTRAINT budget_request_four_eyes CHECK (approved_by <> authorised_by),
    CONSTRAINT budget_request_approval_whole CHECK ((approved_by IS NULL) = (approved_at IS NULL))
);

-- What everybody together has had under a policy with a cap over the programme; touched once a chunk.
CREATE TABLE programme_use (
    policy_id integer NOT NULL REFERENCES policy,
    asset_id  integer NOT NULL REFERENCES asset,
    takers    bigint NOT NULL DEFAULT 0,
    amount    bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (policy_id, asset_id),
    CONSTRAINT programme_use_positive CHECK (takers >= 0 AND amount >= 0)
);

CREATE TABLE roster (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id integer NOT NULL REFERENCES incident,
    file_name   text NOT NULL,
    file_hash   text NOT NULL,
    accepted    bigint NOT NULL,
    refused     bigint NOT NULL,
    imported_at timestamptz NOT NULL
);

CREATE TABLE holding (
    incident_id integer NOT NULL,
    customer_id text COLLATE "C" NOT NULL,
    service_id  integer NOT NULL,
    reference   text COLLATE "C" NOT NULL,
    kind        text NOT NULL,
    product     text NOT NULL,
    valid_from  timestamptz,
    valid_until timestamptz,
    attributes  jsonb NOT NULL,
    roster_id   bigint NOT NULL,
    PRIMARY KEY (incident_id, customer_id, service_id, reference),
    CONSTRAINT holding_validity_ordered CHECK (valid_from < valid_until)
);

CREATE TABLE claim (
    customer_id  text COLLATE "C" NOT NULL,
    id           uuid NOT NULL,
    reference    text COLLATE "C" NOT NULL,
    incident_id  integer NOT NULL,
    service_id   integer NOT NULL,
    state        text NOT NULL CONSTRAINT claim_state_known CHECK (state IN
                 ('draft', 'submitted', 'in_review', 'needs_information', 'approved', 'partly_approved',
                  'declined', 'issued', 'closed', 'withdrawn', 'pending_policy')),
    facts        jsonb NOT NULL,
    version      integer NOT NULL,
    created_at   timestamptz NOT NULL,
    submitted_at timestamptz,
    updated_at   timestamptz NOT NULL,
    PRIMARY KEY (customer_id, id),
    CONSTRAINT claim_reference_unique UNIQUE (customer_id, reference)
);
CREATE INDEX claim_by_id ON claim (id);
CREATE INDEX claim_by_reference ON claim (reference);
CREATE INDEX claim_granted ON claim (incident_id, customer_id)
    WHERE state IN ('approved', 'partly_approved', 'issued', 'closed');
CREATE INDEX claim_waiting ON claim (incident_id, service_id, id) WHERE state = 'pending_policy';

-- What the claimant wrote of himself, sealed: destroyed on time without touching a figure.
CREATE TABLE personal (
    customer_id text COLLATE "C" NOT NULL,
    claim_id    uuid NOT NULL,
    sealed      bytea NOT NULL,
    PRIMARY KEY (customer_id, claim_id)
);

CREATE TABLE assessment (
    customer_id       text COLLATE "C" NOT NULL,
    claim_id          uuid NOT NULL,
    seq               integer NOT NULL,
    policy_version_id integer,
    outcome           text NOT NULL CONSTRAINT assessment_outcome_known
                      CHECK (outcome IN ('award', 'decline', 'review', 'pending')),
    trace             jsonb NOT NULL,
    assessed_at       timestamptz NOT NULL,
    PRIMARY KEY (customer_id, claim_id, seq)
);

-- The answer to a request, kept so that a retry gets the same bytes.
CREATE TABLE idempotency (
    customer_id  text COLLATE "C" NOT NULL,
    key          text COLLATE "C" NOT NULL,
    request_hash bytea NOT NULL,
    status       smallint NOT NULL,
    location     text,
    body         bytea NOT NULL,
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (customer_id, key)
);

CREATE TABLE notice (
    customer_id  text COLLATE "C" NOT NULL,
    id           uuid NOT NULL,
    claim_id     uuid NOT NULL,
    event        text NOT NULL CONSTRAINT notice_event_known CHECK (event IN ('received', 'decided', 'credited')),
    state        text NOT NULL CONSTRAINT notice_state_known CHECK (state IN ('queued', 'sent', 'dead')),
    attempts     integer NOT NULL DEFAULT 0,
    next_at      timestamptz NOT NULL,
    queued_at    timestamptz NOT NULL,
    sent_at      timestamptz,
    last_error   text,
    PRIMARY KEY (customer_id, id),
    CONSTRAINT notice_once_per_event UNIQUE (customer_id, claim_id, event)
);
CREATE INDEX notice_queue ON notice (next_at) WHERE state = 'queued';

CREATE TABLE run (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id integer NOT NULL REFERENCES incident,
    state       text NOT NULL CONSTRAINT run_state_known CHECK (state IN ('running', 'stopped', 'done')),
    scope       jsonb NOT NULL,
    started_by  text NOT NULL,
    started_at  timestamptz NOT NULL,
    ended_at    timestamptz,
    note        text
);
CREATE UNIQUE INDEX run_one_open ON run (incident_id) WHERE state <> 'done';

-- A chunk is a range of customers [from, until), open at both ends of the whole; it commits whole or not at all.
CREATE TABLE run_chunk (
    run_id        bigint NOT NULL REFERENCES run,
    seq           integer NOT NULL,
    from_customer text COLLATE "C",
    till_customer text COLLATE "C",
    tally         jsonb,
    done_at       timestamptz,
    PRIMARY KEY (run_id, seq)
);

-- What could not be issued, and why: seen by people, never silently dropped.
CREATE TABLE run_exception (
    run_id            bigint NOT NULL,
    customer_id       text COLLATE "C" NOT NULL,
    policy_version_id integer NOT NULL,
    subject           text COLLATE "C" NOT NULL,
    reason            text NOT NULL,
    PRIMARY KEY (run_id, customer_id, policy_version_id, subject)
);

-- A posting is the transfers that one transaction recorded; its totals answer for balances without reading them.
CREATE TABLE posting (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id      bigint,
    chunk_seq   integer,
    recorded_at timestamptz NOT NULL,
    CONSTRAINT posting_chunk_once UNIQUE (run_id, chunk_seq)
);

CREATE TABLE posting_total (
    posting_id        bigint NOT NULL REFERENCES posting,
    debit_account     integer NOT NULL REFERENCES account,
    credit_account    integer NOT NULL REFERENCES account,
    code              smallint NOT NULL,
    policy_version_id integer NOT NULL,
    transfers         bigint NOT NULL CONSTRAINT posting_total_counted CHECK (transfers > 0),
    amount            bigint NOT NULL CONSTRAINT posting_total_positive CHECK (amount > 0),
    PRIMARY KEY (posting_id, debit_account, credit_account, code, policy_version_id),
    CONSTRAINT posting_total_two_sides CHECK (debit_account <> credit_account)
);

-- The only ledger row. A credit is a transfer of code `issue`. No foreign keys: the hot path carries its
-- invariants by construction, and `redress verify` reads them again.
CREATE TABLE transfer (
    customer_id       text COLLATE "C" NOT NULL,
    id                uuid NOT NULL,
    posting_id        bigint NOT NULL,
    amount            bigint NOT NULL CONSTRAINT transfer_positive CHECK (amount > 0),
    debit_account     integer NOT NULL,
    credit_account    integer NOT NULL,
    asset_id          integer NOT NULL,
    policy_version_id integer NOT NULL,
    code              smallint NOT NULL,
    subject           text COLLATE "C" NOT NULL,
    PRIMARY KEY (customer_id, id),
    CONSTRAINT transfer_two_sides CHECK (debit_account <> credit_account)
);

CREATE TABLE audit (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at     timestamptz NOT NULL,
    actor  text NOT NULL,
    origin text NOT NULL,
    action text NOT NULL,
    object text NOT NULL,
    detail jsonb NOT NULL
);

-- The server works as this role: the ledger and the audit log only grow.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'redress_app') THEN
        CREATE ROLE redress_app NOLOGIN;
    END IF;
    IF NOT pg_has_role('redress_app', 'MEMBER') THEN
        GRANT redress_app TO CURRENT_USER;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL; -- another database of this server was migrated at the same moment
END
$$;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO redress_app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO redress_app;
REVOKE INSERT, UPDATE, DELETE ON __diesel_schema_migrations FROM redress_app;
REVOKE UPDATE, DELETE ON transfer, posting, posting_total, audit, policy_version, assessment FROM redress_app;
GRANT UPDATE (approved_by, approved_at, retired_at) ON policy_version TO redress_app;

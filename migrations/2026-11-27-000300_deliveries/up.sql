-- Whom we tell over HTTP, signed as Standard Webhooks. Small: written by administrators, touched once a call at most.
CREATE TABLE webhook (
    id              uuid PRIMARY KEY,
    url             text NOT NULL,
    -- `deliveries`: the service grants there what its customers are owed. `events`: what happens to claims is told there.
    purpose         text NOT NULL CONSTRAINT webhook_purpose_known CHECK (purpose IN ('deliveries', 'events')),
    service_id      integer REFERENCES service,
    -- The secrets, sealed. While a rotation is under way the one before signs as well.
    secret          bytea NOT NULL,
    previous_secret bytea,
    previous_until  timestamptz,
    created_by      text COLLATE "C" NOT NULL REFERENCES staff,
    created_at      timestamptz NOT NULL,
    disabled_at     timestamptz,
    disabled_why    text,
    -- How calls fare: failures in a row, and not before when the next is made.
    failures        integer NOT NULL DEFAULT 0,
    failing_since   timestamptz,
    retry_at        timestamptz,
    last_error      text,
    CONSTRAINT webhook_delivers_for_a_service CHECK (purpose <> 'deliveries' OR service_id IS NOT NULL),
    CONSTRAINT webhook_previous_whole CHECK ((previous_secret IS NULL) = (previous_until IS NULL)),
    CONSTRAINT webhook_disabled_says_why CHECK ((disabled_at IS NULL) = (disabled_why IS NULL)),
    CONSTRAINT webhook_failing_whole CHECK ((failures = 0) = (failing_since IS NULL) AND (failures = 0) = (last_error IS NULL))
);
CREATE UNIQUE INDEX webhook_one_delivers ON webhook (service_id) WHERE purpose = 'deliveries' AND disabled_at IS NULL;

-- A batch of credits of one service, one row for a thousand of them: which ones follows from the books (the credits of a
-- posting between two keys), so that issuing pays nothing for it. Its id is the webhook-id of every attempt.
CREATE TABLE delivery (
    id             uuid PRIMARY KEY,
    service_id     integer NOT NULL REFERENCES service,
    posting_id     bigint NOT NULL,
    -- Takes over what was refused of an earlier one, and nothing else.
    retry_of       uuid REFERENCES delivery,
    first_customer text COLLATE "C" NOT NULL,
    first_credit   uuid NOT NULL,
    last_customer  text COLLATE "C" NOT NULL,
    last_credit    uuid NOT NULL,
    credits        integer NOT NULL CONSTRAINT delivery_not_empty CHECK (credits > 0),
    state          text NOT NULL CONSTRAINT delivery_state_known
                   CHECK (state IN ('queued', 'awaiting', 'done', 'refused', 'retried', 'dead')),
    attempts       integer NOT NULL DEFAULT 0,
    next_at        timestamptz NOT NULL,
    queued_at      timestamptz NOT NULL,
    -- The instant whose books the service was told. Once it is set the service may have granted what was owed then: every
    -- further attempt says the same, and none of it can be reversed behind the service's back.
    as_of          timestamptz,
    ended_at       timestamptz,
    last_error     text,
    CONSTRAINT delivery_ended_at_a_time CHECK ((state IN ('done', 'refused', 'retried')) = (ended_at IS NOT NULL)),
    CONSTRAINT delivery_awaits_what_was_sent CHECK (state <> 'awaiting' OR as_of IS NOT NULL)
);
CREATE UNIQUE INDEX delivery_once ON delivery (service_id, posting_id, first_customer, first_credit) WHERE retry_of IS NULL;
CREATE UNIQUE INDEX delivery_retried_once ON delivery (retry_of) WHERE retry_of IS NOT NULL;
CREATE INDEX delivery_of_posting ON delivery (posting_id);
CREATE INDEX delivery_due ON delivery (service_id, next_at) WHERE state IN ('queued', 'awaiting');
CREATE INDEX delivery_open ON delivery (id) WHERE state IN ('queued', 'awaiting', 'refused', 'dead');

-- What a service refused to grant, or granted in part: the few that a person has to see. A row a credit, and only here.
CREATE TABLE delivery_refusal (
    customer_id text COLLATE "C" NOT NULL,
    delivery_id uuid NOT NULL,
    credit_id   uuid NOT NULL,
    reason      text NOT NULL,
    refused_at  timestamptz NOT NULL,
    PRIMARY KEY (customer_id, delivery_id, credit_id)
);
CREATE INDEX delivery_refusal_by_delivery ON delivery_refusal (delivery_id);

GRANT SELECT, INSERT ON webhook, delivery, delivery_refusal TO redress_app;
GRANT UPDATE (secret, previous_secret, previous_until, disabled_at, disabled_why, failures, failing_since, retry_at,
              last_error) ON webhook TO redress_app;
GRANT UPDATE (state, attempts, next_at, as_of, ended_at, last_error) ON delivery TO redress_app;

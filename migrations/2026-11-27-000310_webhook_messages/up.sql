-- What happens to claims, told to whoever an administrator registered for it: ids only, queued in the transaction of what
-- it tells of, one row a webhook that wants it. Where nobody does, nothing is written.
ALTER TABLE webhook
    ADD COLUMN events jsonb NOT NULL DEFAULT '[]'
        CONSTRAINT webhook_events_listed CHECK (jsonb_typeof(events) = 'array'),
    ADD CONSTRAINT webhook_tells_something CHECK ((purpose = 'events') = (events <> '[]'));

CREATE TABLE webhook_message (
    customer_id text COLLATE "C" NOT NULL,
    -- The webhook-id of every attempt.
    id          uuid NOT NULL,
    webhook_id  uuid NOT NULL,
    claim_id    uuid NOT NULL,
    event       text NOT NULL,
    -- Which time this is: 0 for what happens once, else the claim's version or a count.
    occasion    integer NOT NULL,
    -- Where the claim stood then: every attempt says the same.
    claim_state text NOT NULL,
    state       text NOT NULL CONSTRAINT webhook_message_state_known CHECK (state IN ('queued', 'sent', 'dead', 'dropped')),
    attempts    integer NOT NULL DEFAULT 0,
    next_at     timestamptz NOT NULL,
    queued_at   timestamptz NOT NULL,
    sent_at     timestamptz,
    last_error  text,
    PRIMARY KEY (customer_id, id),
    CONSTRAINT webhook_message_once UNIQUE (customer_id, webhook_id, claim_id, event, occasion),
    CONSTRAINT webhook_message_sent_at_a_time CHECK ((state = 'sent') = (sent_at IS NOT NULL))
);
CREATE INDEX webhook_message_queue ON webhook_message (webhook_id, next_at) WHERE state = 'queued';
CREATE INDEX webhook_message_dead ON webhook_message (webhook_id, queued_at DESC, id) WHERE state = 'dead';

GRANT SELECT, INSERT ON webhook_message TO redress_app;
GRANT UPDATE (state, attempts, next_at, sent_at, last_error) ON webhook_message TO redress_app;

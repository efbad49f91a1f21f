-- What people do with claims. The claim itself stays narrow: what only a claim on somebody's desk has (queue, reader,
-- lease, term) stands in `task`, so that the millions that a policy decides pay nothing for it.

ALTER TABLE claim
    -- An enquiry claims nothing; it is answered and closed.
    ADD COLUMN kind text NOT NULL DEFAULT 'damage' CONSTRAINT claim_kind_known CHECK (kind IN ('damage', 'enquiry')),
    -- How it came: from the claimant, or filed by staff for a caller, or from a file.
    ADD COLUMN channel text NOT NULL DEFAULT 'web'
        CONSTRAINT claim_channel_known CHECK (channel IN ('web', 'chat', 'phone', 'post', 'file')),
    -- What is claimed, hashed: a customer claims the same loss once. None while it is a draft, once it is withdrawn,
    -- and in what was merged into another.
    ADD COLUMN loss uuid,
    -- The claim that said the same before, and in which this one is handled.
    ADD COLUMN duplicate_of uuid,
    -- When the first credit of it was issued.
    ADD COLUMN credited_at timestamptz,
    ADD CONSTRAINT claim_merged_is_closed CHECK (duplicate_of IS NULL OR (loss IS NULL AND state IN ('closed', 'withdrawn'))),
    ADD CONSTRAINT claim_credited_stays CHECK (credited_at IS NULL OR state NOT IN ('draft', 'withdrawn'));
UPDATE claim SET credited_at = updated_at WHERE state = 'issued';

-- The reference has 60 random bits and an index of its own; what must not happen twice is the loss.
ALTER TABLE claim DROP CONSTRAINT claim_reference_unique;
CREATE UNIQUE INDEX claim_once ON claim (customer_id, loss) WHERE loss IS NOT NULL;
-- One ordered range for each service and state: a page of a search is the head of a few of them, whatever stands in
-- the table and however far one has turned. Ids are made in the order of time.
CREATE INDEX claim_by_service_state ON claim (service_id, state, id);
DROP INDEX claim_granted;
CREATE INDEX claim_granted ON claim (incident_id, customer_id)
    WHERE state IN ('approved', 'partly_approved', 'issued', 'closed') OR credited_at IS NOT NULL;

-- A claim that is or was on somebody's desk. While the claimant is asked it has a term and nobody needs to look.
CREATE TABLE task (
    customer_id  text COLLATE "C" NOT NULL,
    claim_id     uuid NOT NULL,
    service_id   integer NOT NULL,
    queue        text COLLATE "C" NOT NULL,
    is_open      boolean NOT NULL,
    since        timestamptz NOT NULL,
    assignee     text COLLATE "C",
    leased_by    text COLLATE "C",
    leased_until timestamptz,
    due_at       timestamptz,
    reminded     smallint NOT NULL DEFAULT 0,
    PRIMARY KEY (customer_id, claim_id),
    CONSTRAINT task_lease_whole CHECK ((leased_by IS NULL) = (leased_until IS NULL)),
    CONSTRAINT task_term_is_open CHECK (due_at IS NULL OR is_open)
);
CREATE INDEX task_next ON task (since, claim_id) WHERE is_open AND due_at IS NULL;
CREATE INDEX task_next_of_queue ON task (queue, since, claim_id) WHERE is_open AND due_at IS NULL;
CREATE INDEX task_due ON task (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX task_of_reader ON task (assignee, claim_id) WHERE assignee IS NOT NULL;

-- What people decided. It never changes; what comes after it is a second signature, or a later decision.
CREATE TABLE decision (
    customer_id       text COLLATE "C" NOT NULL,
    claim_id          uuid NOT NULL,
    seq               integer NOT NULL CONSTRAINT decision_counted CHECK (seq > 0),
    outcome           text NOT NULL CONSTRAINT decision_outcome_known CHECK (outcome IN ('approve', 'part', 'decline')),
    awards            jsonb NOT NULL,
    reasons           jsonb NOT NULL,
    policy_version_id integer,
    decided_by        text COLLATE "C" NOT NULL,
    decided_at        timestamptz NOT NULL,
    needs_approval    boolean NOT NULL,
    approved_by       text COLLATE "C",
    approved_at       timestamptz,
    rejected_by       text COLLATE "C",
    rejected_at       timestamptz,
    in_force_at       timestamptz,
    PRIMARY KEY (customer_id, claim_id, seq),
    CONSTRAINT decision_four_eyes CHECK (approved_by <> decided_by),
    CONSTRAINT decision_approval_whole CHECK ((approved_by IS NULL) = (approved_at IS NULL)),
    CONSTRAINT decision_rejection_whole CHECK ((rejected_by IS NULL) = (rejected_at IS NULL)),
    CONSTRAINT decision_signed_once CHECK (approved_at IS NULL OR rejected_at IS NULL),
    CONSTRAINT decision_waits_for_approval
        CHECK (in_force_at IS NULL OR (rejected_at IS NULL AND (NOT needs_approval OR approved_at IS NOT NULL))),
    CONSTRAINT decision_says_why CHECK ((outcome = 'approve') = (reasons = '[]')),
    CONSTRAINT decision_grants CHECK ((outcome = 'decline') = (awards = '[]')),
    CONSTRAINT decision_grants_by_policy CHECK (outcome = 'decline' OR policy_version_id IS NOT NULL)
);
CREATE UNIQUE INDEX decision_one_waits ON decision (customer_id, claim_id)
    WHERE in_force_at IS NULL AND rejected_at IS NULL;

-- Once per decision: `against` is its number, 0 the policy's own. Whoever decided does not read the appeal.
CREATE TABLE appeal (
    customer_id    text COLLATE "C" NOT NULL,
    claim_id       uuid NOT NULL,
    against        integer NOT NULL CONSTRAINT appeal_against_counted CHECK (against >= 0),
    filed_at       timestamptz NOT NULL,
    decided_by     text COLLATE "C",
    countersigned_by text COLLATE "C",
    read_by        text COLLATE "C",
    read_at        timestamptz,
    outcome        text CONSTRAINT appeal_outcome_known CHECK (outcome IN ('approve', 'part', 'decline')),
    CONSTRAINT appeal_once PRIMARY KEY (customer_id, claim_id, against),
    CONSTRAINT appeal_read_by_another CHECK (read_by <> decided_by AND read_by <> countersigned_by),
    CONSTRAINT appeal_reading_whole CHECK ((read_by IS NULL) = (read_at IS NULL) AND (read_by IS NULL) = (outcome IS NULL))
);

-- What claimants and readers write to each other, sealed.
CREATE TABLE message (
    customer_id text COLLATE "C" NOT NULL,
    claim_id    uuid NOT NULL,
    id          uuid NOT NULL,
    kind        text NOT NULL CONSTRAINT message_kind_known CHECK (kind IN ('message', 'question', 'appeal', 'merged')),
    staff       text COLLATE "C",
    sealed      bytea NOT NULL,
    sent_at     timestamptz NOT NULL,
    PRIMARY KEY (customer_id, claim_id, id)
);

-- What was found beside a claim, to be seen by people; and by what claims of different customers are alike: hashes
-- under a key of the installation, never the words.
CREATE TABLE triage (
    customer_id text COLLATE "C" NOT NULL,
    claim_id    uuid NOT NULL,
    findings    jsonb NOT NULL,
    at          timestamptz NOT NULL,
    PRIMARY KEY (customer_id, claim_id)
);
CREATE TABLE claim_trait (
    customer_id text COLLATE "C" NOT NULL,
    claim_id    uuid NOT NULL,
    kind        text COLLATE "C" NOT NULL CONSTRAINT claim_trait_kind_known
                CHECK (kind IN ('payout_account', 'device', 'phone', 'email', 'text')),
    hash        bigint NOT NULL,
    PRIMARY KEY (customer_id, claim_id, kind, hash)
);
CREATE INDEX claim_trait_alike ON claim_trait (kind, hash, claim_id);

-- Claims drawn for a second reader, who is somebody else, and whether he agrees.
CREATE TABLE second_reading (
    customer_id text COLLATE "C" NOT NULL,
    claim_id    uuid NOT NULL,
    ruling      integer NOT NULL,
    service_id  integer NOT NULL,
    sample      text NOT NULL CONSTRAINT second_reading_sample_known CHECK (sample IN ('random', 'decline')),
    policy      text COLLATE "C" NOT NULL,
    first_by    text COLLATE "C",
    drawn_at    timestamptz NOT NULL,
    read_by     text COLLATE "C",
    read_at     timestamptz,
    agrees      boolean,
    PRIMARY KEY (customer_id, claim_id, ruling),
    CONSTRAINT second_reading_by_another CHECK (read_by <> first_by),
    CONSTRAINT second_reading_whole CHECK ((read_by IS NULL) = (read_at IS NULL) AND (read_by IS NULL) = (agrees IS NULL))
);
CREATE INDEX second_reading_open ON second_reading (drawn_at) WHERE read_at IS NULL;

GRANT SELECT, INSERT, UPDATE ON task TO redress_app;
GRANT SELECT, INSERT ON decision, appeal, message, triage, claim_trait, second_reading TO redress_app;
GRANT UPDATE (approved_by, approved_at, rejected_by, rejected_at, in_force_at) ON decision TO redress_app;
GRANT UPDATE (read_by, read_at, outcome) ON appeal TO redress_app;
GRANT UPDATE (read_by, read_at, agrees) ON second_reading TO redress_app;
-- Personal data are destroyed on time.
GRANT DELETE ON message, claim_trait TO redress_app;
GRANT UPDATE (findings, at) ON triage TO redress_app;

-- What waits for people already.
INSERT INTO task (customer_id, claim_id, service_id, queue, is_open, since)
SELECT claim.customer_id, claim.id, claim.service_id, coalesce(last.trace ->> 'queue', 'records'), true, claim.updated_at
FROM claim LEFT JOIN LATERAL (
    SELECT trace FROM assessment
    WHERE assessment.customer_id = claim.customer_id AND assessment.claim_id = claim.id
    ORDER BY seq DESC LIMIT 1) AS last ON true
WHERE claim.state = 'in_review';

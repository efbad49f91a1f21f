-- Notices of every event of a claim, several of one kind where it happens again, and what became of them afterwards.

ALTER TABLE notice
    DROP CONSTRAINT notice_event_known,
    ADD CONSTRAINT notice_event_known CHECK (event IN
        ('received', 'information_wanted', 'reminder', 'message', 'decided', 'appealed', 'appeal_decided',
         'credited', 'withdrawn')),
    -- `unwanted`: the claimant wants essential notices only, and this is none. `bounced`: it went and came back.
    DROP CONSTRAINT notice_state_known,
    ADD CONSTRAINT notice_state_known CHECK (state IN ('queued', 'sent', 'dead', 'bounced', 'unwanted')),
    -- Which time this is: 0 for what happens once, else the claim's version or a count.
    ADD COLUMN occasion integer NOT NULL DEFAULT 0,
    ADD COLUMN bounced_at timestamptz,
    DROP CONSTRAINT notice_once_per_event,
    ADD CONSTRAINT notice_once_per_event UNIQUE (customer_id, claim_id, event, occasion),
    ADD CONSTRAINT notice_sent_at_a_time CHECK ((state IN ('sent', 'bounced')) = (sent_at IS NOT NULL)),
    ADD CONSTRAINT notice_bounced_at_a_time CHECK ((state = 'bounced') = (bounced_at IS NOT NULL));

-- What a person has to see, newest first.
CREATE INDEX notice_troubled ON notice (queued_at DESC, id) WHERE state IN ('dead', 'bounced');

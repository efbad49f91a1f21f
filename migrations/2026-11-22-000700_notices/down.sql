DELETE FROM notice WHERE event NOT IN ('received', 'decided', 'credited') OR state = 'unwanted' OR occasion > 0;
DROP INDEX notice_troubled;
ALTER TABLE notice
    DROP CONSTRAINT notice_bounced_at_a_time,
    DROP CONSTRAINT notice_sent_at_a_time;
UPDATE notice SET state = 'sent' WHERE state = 'bounced';
ALTER TABLE notice
    DROP CONSTRAINT notice_once_per_event,
    ADD CONSTRAINT notice_once_per_event UNIQUE (customer_id, claim_id, event),
    DROP COLUMN bounced_at,
    DROP COLUMN occasion,
    DROP CONSTRAINT notice_state_known,
    ADD CONSTRAINT notice_state_known CHECK (state IN ('queued', 'sent', 'dead')),
    DROP CONSTRAINT notice_event_known,
    ADD CONSTRAINT notice_event_known CHECK (event IN ('received', 'decided', 'credited'));

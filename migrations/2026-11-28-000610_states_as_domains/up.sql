-- PostgreSQL reads a CHECK of a table anew, and plans it, for each statement that writes, which cost a filing's statement as much as
-- a report does. What a domain allows it keeps. The same is refused, under the same names.

CREATE DOMAIN claim_state AS text CONSTRAINT claim_state_known CHECK (VALUE IN
    ('draft', 'submitted', 'in_review', 'needs_information', 'approved', 'partly_approved', 'declined', 'issued', 'closed',
     'withdrawn', 'pending_policy'));
CREATE DOMAIN claim_kind AS text CONSTRAINT claim_kind_known CHECK (VALUE IN ('damage', 'enquiry'));
CREATE DOMAIN claim_channel AS text
    CONSTRAINT claim_channel_known CHECK (VALUE IN ('web', 'chat', 'phone', 'post', 'file'));
ALTER TABLE claim
    DROP CONSTRAINT claim_state_known,
    DROP CONSTRAINT claim_kind_known,
    DROP CONSTRAINT claim_channel_known,
    ALTER COLUMN state TYPE claim_state,
    ALTER COLUMN kind TYPE claim_kind,
    ALTER COLUMN channel TYPE claim_channel;

CREATE DOMAIN assessment_outcome AS text
    CONSTRAINT assessment_outcome_known CHECK (VALUE IN ('award', 'decline', 'review', 'pending'));
CREATE DOMAIN assessment_trace AS text CONSTRAINT assessment_trace_is_an_object CHECK (left(VALUE, 1) = '{');
ALTER TABLE assessment
    DROP CONSTRAINT assessment_outcome_known,
    DROP CONSTRAINT assessment_trace_is_an_object,
    ALTER COLUMN outcome TYPE assessment_outcome,
    ALTER COLUMN trace TYPE assessment_trace;

CREATE DOMAIN notice_event AS text CONSTRAINT notice_event_known CHECK (VALUE IN
    ('received', 'information_wanted', 'reminder', 'message', 'decided', 'appealed', 'appeal_decided', 'credited', 'withdrawn'));
CREATE DOMAIN notice_state AS text
    CONSTRAINT notice_state_known CHECK (VALUE IN ('queued', 'sent', 'dead', 'bounced', 'unwanted'));
ALTER TABLE notice
    DROP CONSTRAINT notice_event_known,
    DROP CONSTRAINT notice_state_known,
    ALTER COLUMN event TYPE notice_event,
    ALTER COLUMN state TYPE notice_state;

-- What was known of the columns' values goes with their types. Of an empty table nothing is to be known: it would be taken for one
-- that stays empty, and its indexes for useless.
DO $$
BEGIN
    IF EXISTS (SELECT FROM claim) THEN
        ANALYZE claim, assessment, notice;
    END IF;
END
$$;

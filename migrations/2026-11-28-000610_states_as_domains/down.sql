ALTER TABLE notice
    ALTER COLUMN event TYPE text,
    ALTER COLUMN state TYPE text,
    ADD CONSTRAINT notice_event_known CHECK (event IN
        ('received', 'information_wanted', 'reminder', 'message', 'decided', 'appealed', 'appeal_decided', 'credited', 'withdrawn')),
    ADD CONSTRAINT notice_state_known CHECK (state IN ('queued', 'sent', 'dead', 'bounced', 'unwanted'));
DROP DOMAIN notice_event;
DROP DOMAIN notice_state;

ALTER TABLE assessment
    ALTER COLUMN outcome TYPE text,
    ALTER COLUMN trace TYPE text,
    ADD CONSTRAINT assessment_outcome_known CHECK (outcome IN ('award', 'decline', 'review', 'pending')),
    ADD CONSTRAINT assessment_trace_is_an_object CHECK (left(trace, 1) = '{');
DROP DOMAIN assessment_outcome;
DROP DOMAIN assessment_trace;

ALTER TABLE claim
    ALTER COLUMN state TYPE text,
    ALTER COLUMN kind TYPE text,
    ALTER COLUMN channel TYPE text,
    ADD CONSTRAINT claim_state_known CHECK (state IN
        ('draft', 'submitted', 'in_review', 'needs_information', 'approved', 'partly_approved', 'declined', 'issued', 'closed',
         'withdrawn', 'pending_policy')),
    ADD CONSTRAINT claim_kind_known CHECK (kind IN ('damage', 'enquiry')),
    ADD CONSTRAINT claim_channel_known CHECK (channel IN ('web', 'chat', 'phone', 'post', 'file'));
DROP DOMAIN claim_state;
DROP DOMAIN claim_kind;
DROP DOMAIN claim_channel;

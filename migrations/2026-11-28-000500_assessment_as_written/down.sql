ALTER TABLE assessment DROP CONSTRAINT assessment_trace_is_an_object;
ALTER TABLE assessment ALTER COLUMN trace TYPE jsonb USING trace::jsonb;

ALTER TABLE assessment ALTER COLUMN trace TYPE jsonb USING trace::jsonb;

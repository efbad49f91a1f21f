ALTER TABLE posting_seal ALTER COLUMN marks SET STORAGE EXTENDED;
ALTER TABLE holding ALTER COLUMN attributes TYPE jsonb USING attributes::jsonb;

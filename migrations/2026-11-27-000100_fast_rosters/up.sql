-- The batch job reads every attribute once and asks the database nothing about them: as text they are handed over as
-- they stand, where jsonb would be put into words anew for each of a million rows.
ALTER TABLE holding ALTER COLUMN attributes TYPE json USING attributes::json;

-- Marks are hashes: trying to compress them is time lost.
ALTER TABLE posting_seal ALTER COLUMN marks SET STORAGE EXTERNAL;

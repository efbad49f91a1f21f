DROP TABLE mailed_code;
DROP INDEX personal_by_address;
ALTER TABLE personal DROP COLUMN address;

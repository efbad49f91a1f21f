-- What is sealed looks like noise: trying to make it smaller only costs time, once for every report.
ALTER TABLE idempotency ALTER COLUMN body SET STORAGE EXTERNAL;
ALTER TABLE personal ALTER COLUMN sealed SET STORAGE EXTERNAL;

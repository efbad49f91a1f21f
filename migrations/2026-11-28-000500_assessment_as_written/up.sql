-- An assessment is kept as it was written, byte for byte: it is hashed as such, and PostgreSQL never takes it apart.
ALTER TABLE assessment ALTER COLUMN trace TYPE text;

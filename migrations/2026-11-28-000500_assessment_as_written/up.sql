-- An assessment is kept as it was written, byte for byte: it is hashed as such, and PostgreSQL never takes it apart.
-- A server of the version before writes it in another form: it is refused, not taken for a text.
ALTER TABLE assessment
    ALTER COLUMN trace TYPE text,
    ADD CONSTRAINT assessment_trace_is_an_object CHECK (left(trace, 1) = '{');

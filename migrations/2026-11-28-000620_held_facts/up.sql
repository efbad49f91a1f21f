-- What a holding is, in one short column: kind, product, first instant, first instant after it, attributes. The batch job reads
-- a million of them; each column costs the server and the program as much as a short text, each byte is read from the disk and
-- sent, and many rows say the same, which one text tells at a glance.
ALTER TABLE holding RENAME TO holding_by_columns;
ALTER TABLE holding_by_columns RENAME CONSTRAINT holding_pkey TO holding_by_columns_pkey;
CREATE TABLE holding (
    roster_id   bigint NOT NULL,
    incident_id integer NOT NULL,
    service_id  integer NOT NULL,
    customer_id text COLLATE "C" NOT NULL,
    reference   text COLLATE "C" NOT NULL,
    facts       json NOT NULL
);
INSERT INTO holding (roster_id, incident_id, service_id, customer_id, reference, facts)
SELECT roster_id, incident_id, service_id, customer_id, reference,
       json_build_array(kind, product, to_char(valid_from AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                        to_char(valid_until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), attributes)
FROM holding_by_columns ORDER BY incident_id, customer_id, service_id, reference;
DROP TABLE holding_by_columns;
ALTER TABLE holding ADD PRIMARY KEY (incident_id, customer_id, service_id, reference);
GRANT SELECT, INSERT, UPDATE, DELETE ON holding TO redress_app;

-- What was known of the table went with it; of an empty one nothing is to be known.
DO $$
BEGIN
    IF EXISTS (SELECT FROM holding) THEN
        ANALYZE holding;
    END IF;
END
$$;

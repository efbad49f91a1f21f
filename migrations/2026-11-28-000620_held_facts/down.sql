ALTER TABLE holding RENAME TO holding_in_one;
ALTER TABLE holding_in_one RENAME CONSTRAINT holding_pkey TO holding_in_one_pkey;
CREATE TABLE holding (
    incident_id integer NOT NULL,
    customer_id text COLLATE "C" NOT NULL,
    service_id  integer NOT NULL,
    reference   text COLLATE "C" NOT NULL,
    kind        text NOT NULL,
    product     text NOT NULL,
    valid_from  timestamptz,
    valid_until timestamptz,
    attributes  json NOT NULL,
    roster_id   bigint NOT NULL,
    CONSTRAINT holding_validity_ordered CHECK (valid_from < valid_until)
);
INSERT INTO holding
SELECT incident_id, customer_id, service_id, reference, facts ->> 0, facts ->> 1, (facts ->> 2)::timestamptz,
       (facts ->> 3)::timestamptz, facts -> 4, roster_id
FROM holding_in_one ORDER BY incident_id, customer_id, service_id, reference;
DROP TABLE holding_in_one;
ALTER TABLE holding ADD PRIMARY KEY (incident_id, customer_id, service_id, reference);
GRANT SELECT, INSERT, UPDATE, DELETE ON holding TO redress_app;

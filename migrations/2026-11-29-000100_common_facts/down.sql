ALTER TABLE holding RENAME TO holding_in_part;
ALTER TABLE holding_in_part RENAME CONSTRAINT holding_pkey TO holding_in_part_pkey;
CREATE TABLE holding (
    roster_id   bigint NOT NULL,
    incident_id integer NOT NULL,
    service_id  integer NOT NULL,
    customer_id text COLLATE "C" NOT NULL,
    reference   text COLLATE "C" NOT NULL,
    facts       json NOT NULL
);
INSERT INTO holding
SELECT roster_id, incident_id, service_id, customer_id, reference, coalesce(held.facts, common_facts.facts)
FROM holding_in_part AS held LEFT JOIN common_facts ON common_facts.id = held.common_id
ORDER BY incident_id, customer_id, service_id, reference;
DROP TABLE holding_in_part;
DROP TABLE common_facts;
ALTER TABLE holding ADD PRIMARY KEY (incident_id, customer_id, service_id, reference);
GRANT SELECT, INSERT, UPDATE, DELETE ON holding TO redress_app;

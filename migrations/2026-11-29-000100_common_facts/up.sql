-- What many holdings are, kept once: a roster says the same of thousands, and the batch job then reads a number of four bytes
-- where it read a text of a hundred. A text that hardly repeats stays with its holding. What stands here never changes.
CREATE TABLE common_facts (
    id    integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    facts json NOT NULL
);
CREATE UNIQUE INDEX common_facts_once ON common_facts ((facts::text));
GRANT SELECT, INSERT ON common_facts TO redress_app;

ALTER TABLE holding RENAME TO holding_in_full;
ALTER TABLE holding_in_full RENAME CONSTRAINT holding_pkey TO holding_in_full_pkey;
INSERT INTO common_facts (facts)
SELECT facts::json FROM (
    SELECT facts::text AS facts FROM holding_in_full WHERE octet_length(facts::text) <= 512
    GROUP BY 1 HAVING count(*) >= 32 ORDER BY count(*) DESC LIMIT 4096) AS often;
CREATE TABLE holding (
    roster_id   bigint NOT NULL,
    incident_id integer NOT NULL,
    service_id  integer NOT NULL,
    customer_id text COLLATE "C" NOT NULL,
    reference   text COLLATE "C" NOT NULL,
    facts       json,
    common_id   integer,
    CONSTRAINT holding_facts_once CHECK (num_nonnulls(facts, common_id) = 1)
);
INSERT INTO holding
SELECT roster_id, incident_id, service_id, customer_id, reference, CASE WHEN common_facts.id IS NULL THEN held.facts END, common_facts.id
FROM holding_in_full AS held LEFT JOIN common_facts ON common_facts.facts::text = held.facts::text
ORDER BY incident_id, customer_id, service_id, reference;
DROP TABLE holding_in_full;
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

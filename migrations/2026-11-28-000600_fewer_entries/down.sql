DROP INDEX notice_sent;
ALTER TABLE notice DROP CONSTRAINT notice_pkey;
ALTER TABLE notice ADD CONSTRAINT notice_once_per_event UNIQUE (customer_id, claim_id, event, occasion);
ALTER TABLE notice ADD CONSTRAINT notice_pkey PRIMARY KEY (id, customer_id);

DROP INDEX claim_once;
ALTER TABLE claim DROP CONSTRAINT claim_pkey;
ALTER TABLE claim ADD CONSTRAINT claim_pkey PRIMARY KEY (customer_id, id);
CREATE UNIQUE INDEX claim_once ON claim (customer_id, loss) WHERE loss IS NOT NULL;
CREATE INDEX claim_by_id ON claim (id);

ALTER TABLE notice DROP CONSTRAINT notice_pkey;
ALTER TABLE notice ADD CONSTRAINT notice_pkey PRIMARY KEY (customer_id, id);
CREATE INDEX notice_by_id ON notice (id);

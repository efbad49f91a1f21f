-- One index for both: that a notice is one row, and that a bounce finds it by its id. Ids are made in the order of time, so that a
-- new one goes to the end; and who leases a hundred looks for a hundred, not for each customer with each id.
ALTER TABLE notice DROP CONSTRAINT notice_pkey;
DROP INDEX notice_by_id;
ALTER TABLE notice ADD CONSTRAINT notice_pkey PRIMARY KEY (id, customer_id);

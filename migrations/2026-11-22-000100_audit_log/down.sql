DROP TABLE log_head, log_node, log_leaf, posting_seal;
DROP INDEX audit_by_object;
ALTER TABLE audit DROP COLUMN before_hash, DROP COLUMN after_hash, DROP COLUMN hash;

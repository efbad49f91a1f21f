DROP TABLE webhook_message;
DELETE FROM webhook WHERE purpose = 'events';
ALTER TABLE webhook DROP COLUMN events;

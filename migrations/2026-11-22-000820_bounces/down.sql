DROP INDEX notice_by_id;

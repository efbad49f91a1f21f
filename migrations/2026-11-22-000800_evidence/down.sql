-- Refused while there is any: the files would stay behind with nobody who knows whose they are.
DO $$
BEGIN
    IF EXISTS (SELECT FROM evidence) THEN
        RAISE EXCEPTION 'evidence is stored: nobody would know any more whose the files are';
    END IF;
END
$$;
DROP TABLE evidence;

-- Refused while there is any: nobody would know any more what services were told.
DO $$
BEGIN
    IF EXISTS (SELECT FROM delivery) THEN
        RAISE EXCEPTION 'services were told of credits: nobody would know any more of which';
    END IF;
END
$$;
DROP TABLE delivery_refusal, delivery, webhook;

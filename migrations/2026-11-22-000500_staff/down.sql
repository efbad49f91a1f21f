DROP TABLE sign_in_guess, api_key, session, staff_credential;
ALTER TABLE staff DROP COLUMN services, DROP COLUMN decides_up_to, DROP COLUMN subject;

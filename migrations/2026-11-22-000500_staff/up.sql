-- What narrows a member's role: the services (null: all) and the largest amount of money decided alone (null: the role's).
ALTER TABLE staff
    ADD COLUMN services jsonb CONSTRAINT staff_services_listed CHECK (jsonb_typeof(services) = 'array'),
    ADD COLUMN decides_up_to bigint CONSTRAINT staff_limit_positive CHECK (decides_up_to >= 0),
    -- Who it is at the identity provider: issuer and subject.
    ADD COLUMN subject text CONSTRAINT staff_subject_unique UNIQUE;

-- How a member shows who he is. Passwords are Argon2id under a pepper, secrets of codes are sealed, all else is hashed.
CREATE TABLE staff_credential (
    staff       text COLLATE "C" PRIMARY KEY REFERENCES staff,
    setup_hash  bytea CONSTRAINT staff_credential_setup_unique UNIQUE,
    setup_until timestamptz,
    password    text,
    totp        bytea,
    -- The newest time step whose code was used: no code is taken twice.
    totp_step   bigint NOT NULL DEFAULT 0,
    recovery    jsonb NOT NULL DEFAULT '[]',
    changed_at  timestamptz NOT NULL,
    CONSTRAINT staff_credential_setup_whole CHECK ((setup_hash IS NULL) = (setup_until IS NULL))
);

CREATE TABLE session (
    id            uuid PRIMARY KEY,
    token_hash    bytea NOT NULL CONSTRAINT session_token_unique UNIQUE,
    staff         text COLLATE "C" NOT NULL REFERENCES staff,
    method        text NOT NULL CONSTRAINT session_method_known CHECK (method IN ('password', 'oidc')),
    started_at    timestamptz NOT NULL,
    seen_at       timestamptz NOT NULL,
    -- When the second factor was last shown.
    verified_at   timestamptz NOT NULL,
    ends_at       timestamptz NOT NULL,
    ended_at      timestamptz,
    CONSTRAINT session_bounded CHECK (ends_at <= started_at + interval '24 hours')
);
CREATE INDEX session_by_staff ON session (staff) WHERE ended_at IS NULL;

-- A key acts as a member, with less than his rights. While it is rotated the previous token works as well.
CREATE TABLE api_key (
    id             uuid PRIMARY KEY,
    staff          text COLLATE "C" NOT NULL REFERENCES staff,
    label          text NOT NULL,
    scopes         jsonb NOT NULL CONSTRAINT api_key_scopes_listed CHECK (jsonb_typeof(scopes) = 'array'),
    token_hash     bytea NOT NULL CONSTRAINT api_key_token_unique UNIQUE,
    previous_hash  bytea CONSTRAINT api_key_previous_unique UNIQUE,
    previous_until timestamptz,
    -- How long a token works, from when it was made.
    days           smallint NOT NULL CONSTRAINT api_key_days_bounded CHECK (days BETWEEN 1 AND 365),
    created_by     text COLLATE "C" NOT NULL REFERENCES staff,
    created_at     timestamptz NOT NULL,
    expires_at     timestamptz NOT NULL,
    used_at        timestamptz,
    revoked_at     timestamptz,
    CONSTRAINT api_key_previous_whole CHECK ((previous_hash IS NULL) = (previous_until IS NULL))
);
CREATE INDEX api_key_by_staff ON api_key (staff) WHERE revoked_at IS NULL;

-- Guesses that failed, by a hash of whom they were at; see use_cases/sign_in.
CREATE TABLE sign_in_guess (
    bucket    bytea PRIMARY KEY,
    failures  integer NOT NULL,
    failed_at timestamptz NOT NULL
);
CREATE INDEX sign_in_guess_by_time ON sign_in_guess (failed_at);

GRANT SELECT, INSERT, UPDATE, DELETE ON staff_credential, session, api_key, sign_in_guess TO redress_app;

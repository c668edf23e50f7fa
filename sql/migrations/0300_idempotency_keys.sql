-- The answers to commands that came with an Idempotency-Key. Operational: no rebuild touches it.
--
-- A row without status is a request that is being handled, until leased_until; after that another may take the key over.
-- body is null where the answer was too large or a stream: the command is then handled again under the same command id.
CREATE TABLE idempotency_keys (
    tenant       text        COLLATE "C" NOT NULL,
    actor        text        COLLATE "C" NOT NULL,
    key          text        COLLATE "C" NOT NULL,
    fingerprint  text        COLLATE "C" NOT NULL,
    lease        text        COLLATE "C" NOT NULL,
    leased_until timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    status       integer,
    media_type   text,
    body         bytea,
    PRIMARY KEY (tenant, actor, key)
);

CREATE INDEX idempotency_keys_by_expiry ON idempotency_keys (expires_at);

COMMENT ON TABLE idempotency_keys IS 'First answers to commands, by their Idempotency-Key, kept until expires_at.';

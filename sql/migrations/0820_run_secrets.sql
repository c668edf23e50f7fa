-- Secrets in the options of runs that have not ended, sealed. An operational table: in the log stands a placeholder.
CREATE TABLE run_secrets (
    run_id      text        COLLATE "C" NOT NULL,
    placeholder text        COLLATE "C" NOT NULL,
    sealed      bytea       NOT NULL,
    kept_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, placeholder)
);

CREATE INDEX run_secrets_by_age ON run_secrets (kept_at);

COMMENT ON TABLE run_secrets IS 'Secrets in the options of runs that have not ended; deleted with the end of the run.';
COMMENT ON COLUMN run_secrets.placeholder IS 'What stands for the secret in run.queued.';
COMMENT ON COLUMN run_secrets.sealed IS 'AES-256-GCM with a key that derives from FLEETLOG_SECRET: nonce, ciphertext, tag.';

-- When an open question expires, so that the due ones are found by an index however many are open. Null unless the question is
-- open and has a time limit. Rows of the fold before this one keep it null; the next start of a projector rebuilds them.
ALTER TABLE read_models.human_loop ADD COLUMN expires_at timestamptz;
ALTER TABLE past.human_loop        ADD COLUMN expires_at timestamptz;

COMMENT ON COLUMN read_models.human_loop.expires_at IS 'When an open question expires; null for others, and for those without a limit.';

CREATE INDEX human_loop_expiring ON read_models.human_loop (version, tenant, expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX human_loop_expiring ON past.human_loop (version, tenant, expires_at) WHERE expires_at IS NOT NULL;

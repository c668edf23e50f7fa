-- Marks runs as ended, and deletes the secrets of their options.
WITH secrets AS (
    DELETE FROM run_secrets WHERE run_id = ANY(%(run_ids)s::text[])
)
UPDATE run_queue SET state = 'done', lease_owner = NULL, lease_expires_at = NULL WHERE run_id = ANY(%(run_ids)s::text[])

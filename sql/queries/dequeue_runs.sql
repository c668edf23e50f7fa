-- Marks runs as ended.
UPDATE run_queue SET state = 'done', lease_owner = NULL, lease_expires_at = NULL WHERE run_id = ANY(%(run_ids)s::text[])

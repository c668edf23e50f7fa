-- Deletes a run's secrets.
DELETE FROM run_secrets WHERE run_id = %(run_id)s

-- A run's secrets, sealed, by their placeholders.
SELECT placeholder, sealed FROM run_secrets WHERE run_id = %(run_id)s

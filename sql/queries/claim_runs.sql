-- See functions/claim_runs.sql.
SELECT * FROM claim_runs(%(owner)s, %(limit)s, %(lease)s, %(max_running)s, %(only_stale)s)

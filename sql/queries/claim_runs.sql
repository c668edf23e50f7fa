-- See functions/claim_runs_2.sql.
SELECT * FROM claim_runs_2(%(owner)s, %(limit)s, %(lease)s, %(max_running)s, %(only_stale)s)

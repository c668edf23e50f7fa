-- See functions/claim_runs_2.sql.
SELECT * FROM claim_runs_2(
    %(owner)s, %(limit)s, %(ending)s, %(lease)s, %(max_running)s, %(max_per_user)s, %(max_per_app)s, %(only_stale)s)

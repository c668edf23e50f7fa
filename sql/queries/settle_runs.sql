-- See functions/settle_runs.sql.
SELECT settle_runs(%(run_ids)s::text[], %(session_ids)s::text[])

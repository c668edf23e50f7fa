-- See functions/line_up_next_runs.sql.
SELECT line_up_next_runs(%(run_ids)s::text[])

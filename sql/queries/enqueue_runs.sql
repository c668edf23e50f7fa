-- See functions/enqueue_runs.sql.
SELECT enqueue_runs(
    %(run_ids)s::text[], %(session_ids)s::text[], %(positions)s::bigint[], %(max_attempts)s::integer[],
    %(priorities)s::smallint[], %(shares)s::text[], %(app_ids)s::text[], %(users)s::text[])

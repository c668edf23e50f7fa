-- Adds runs to the queue; those that have a row are left alone.
INSERT INTO run_queue (run_id, session_id, position, max_attempts)
SELECT * FROM unnest(%(run_ids)s::text[], %(session_ids)s::text[], %(positions)s::bigint[], %(max_attempts)s::integer[])
ON CONFLICT (run_id) DO NOTHING

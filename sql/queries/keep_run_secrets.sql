-- Keeps a run's secrets, and deletes those of runs that were never queued.
WITH never_queued AS (
    DELETE FROM run_secrets
    WHERE kept_at < clock_timestamp() - interval '1 day'
      AND NOT EXISTS (SELECT FROM run_queue WHERE run_queue.run_id = run_secrets.run_id AND run_queue.state <> 'done')
)
INSERT INTO run_secrets (run_id, placeholder, sealed)
SELECT %(run_id)s, * FROM unnest(%(placeholders)s::text[], %(sealed)s::bytea[])
ON CONFLICT (run_id, placeholder) DO NOTHING

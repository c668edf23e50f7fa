-- Put a run into the queue, once.
INSERT INTO run_queue (run_id, session_id, position, max_attempts)
VALUES (%(run_id)s, %(session_id)s, %(position)s, %(max_attempts)s)
ON CONFLICT (run_id) DO NOTHING

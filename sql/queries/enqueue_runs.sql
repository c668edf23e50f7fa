-- Adds runs to the queue, and those that are the first of their session to its line; those that have a row are left alone.
WITH new AS (
    SELECT run_id, session_id, position, max_attempts, priority, share, app_id, user_login_name,
           row_number() OVER (PARTITION BY session_id ORDER BY position) = 1
               AND NOT EXISTS (
                   SELECT FROM run_queue AS earlier
                   WHERE earlier.session_id = wanted.session_id AND earlier.state <> 'done'
                     AND earlier.position < wanted.position) AS in_line
    FROM unnest(%(run_ids)s::text[], %(session_ids)s::text[], %(positions)s::bigint[], %(max_attempts)s::integer[],
                %(priorities)s::smallint[], %(shares)s::text[], %(app_ids)s::text[], %(users)s::text[])
         AS wanted (run_id, session_id, position, max_attempts, priority, share, app_id, user_login_name)
),
entered AS (
    INSERT INTO run_queue (run_id, session_id, position, max_attempts, priority, share, app_id, user_login_name, in_line)
    SELECT * FROM new
    ON CONFLICT (run_id) DO NOTHING
    RETURNING share, priority, app_id, user_login_name, position, in_line
)
SELECT activate_share(share, min(priority), min(app_id), min(user_login_name), min(position))
FROM entered WHERE in_line GROUP BY share

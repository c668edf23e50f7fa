-- Writes the status of one. The error of a stop is kept by a holder that knows only where it has stopped.
INSERT INTO user_projections AS known (
    tenant, name, class, view_class, topics, status, position, holder, restarts, error_position, error_type, error)
VALUES (%(tenant)s, %(name)s, %(class)s, %(view_class)s, %(topics)s, %(status)s, %(position)s, %(holder)s, %(restarts)s,
        %(error_position)s, %(error_type)s, %(error)s)
ON CONFLICT (tenant, name) DO UPDATE
SET class = excluded.class, view_class = excluded.view_class, topics = excluded.topics, status = excluded.status,
    position = greatest(excluded.position, CASE WHEN excluded.status = 'running' THEN 0 ELSE known.position END),
    holder = excluded.holder, restarts = excluded.restarts, heartbeat_at = clock_timestamp(),
    error_position = excluded.error_position,
    error_type = CASE WHEN excluded.error_position = known.error_position
                      THEN coalesce(excluded.error_type, known.error_type) ELSE excluded.error_type END,
    error = CASE WHEN excluded.error_position = known.error_position
                 THEN coalesce(excluded.error, known.error) ELSE excluded.error END

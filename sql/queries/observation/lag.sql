-- How many events, and seconds, the observer of the log is behind the log; zeros before it has begun.
SELECT greatest(log_end.position - observed.position, 0),
       CASE WHEN log_end.position > observed.position
            THEN extract(epoch FROM clock_timestamp() - next.recorded_at)::float8 ELSE 0.0 END
FROM observed_log AS observed
CROSS JOIN (SELECT coalesce(max(position), 0) AS position FROM events) AS log_end
LEFT JOIN events AS next ON next.position = observed.position + 1

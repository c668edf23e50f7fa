-- Delete the traffic of past hours, some rows at a time.
DELETE FROM session_traffic
WHERE ctid IN (
    SELECT ctid FROM session_traffic WHERE hour < date_trunc('hour', now(), 'UTC') LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)

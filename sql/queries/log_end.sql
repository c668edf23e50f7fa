-- The last position of the log with its chain hash, 0 and null if it is empty; and of two earlier positions the chain hash and
-- the event id, null where the log has no such position.
SELECT coalesce(max(position), 0), (SELECT chain_hash FROM events ORDER BY position DESC LIMIT 1),
       (SELECT chain_hash FROM events WHERE position = %(hash_at)s), (SELECT event_id FROM events WHERE position = %(id_at)s)
FROM events

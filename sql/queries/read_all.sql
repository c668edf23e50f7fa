-- The log after a position and up to another one, in order. `tenant || ''` excludes indexes by tenant, so that the primary
-- key is used.
SELECT position, stream, seq, type, event_id, recorded_at, occurred_at, schema_version,
       convert_to(metadata, 'UTF8') AS metadata, payload
FROM events
WHERE position > %(after)s AND position <= %(up_to)s AND tenant || '' = %(tenant)s
ORDER BY position
LIMIT %(limit)s

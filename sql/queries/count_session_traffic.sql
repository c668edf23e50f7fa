-- Count up a session's traffic of the present hour, and return what it is now.
INSERT INTO session_traffic AS known (hour, tenant, session_id, events, bytes)
VALUES (date_trunc('hour', now(), 'UTC'), %(tenant)s, %(session_id)s, %(events)s, %(bytes)s)
ON CONFLICT (hour, tenant, session_id) DO UPDATE
SET events = known.events + excluded.events, bytes = known.bytes + excluded.bytes
RETURNING events, bytes

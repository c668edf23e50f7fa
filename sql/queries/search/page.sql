-- A part of the log, for the event index.
SELECT position, tenant, metadata, payload
FROM (
    SELECT *, sum(octet_length(payload)) OVER (ORDER BY position) AS bytes
    FROM (
        SELECT * FROM events WHERE position > %(after)s ORDER BY position LIMIT %(limit)s
    ) next
) page
WHERE bytes - octet_length(payload) < %(max_bytes)s
ORDER BY position

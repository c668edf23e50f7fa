-- Deletes past versions of a projection: all but the %(most)s used last, and of these all but the %(keep)s used last if
-- unused for %(unused)s.
DELETE FROM past.versions
WHERE version IN (
    SELECT version FROM (
        SELECT version, used_at, row_number() OVER (ORDER BY used_at DESC, version DESC) AS place
        FROM past.versions WHERE projection = %(projection)s
    ) listed
    WHERE place > %(most)s OR place > %(keep)s AND used_at < clock_timestamp() - %(unused)s::interval
)
RETURNING version

-- Forget versions of a projection: those beyond the %(keep)s used last that nobody has used for a while, and all beyond the
-- %(most)s used last.
DELETE FROM past.versions
WHERE version IN (
    SELECT version FROM (
        SELECT version, used_at, row_number() OVER (ORDER BY used_at DESC, version DESC) AS place
        FROM past.versions WHERE projection = %(projection)s
    ) listed
    WHERE place > %(most)s OR place > %(keep)s AND used_at < clock_timestamp() - %(unused)s::interval
)
RETURNING version

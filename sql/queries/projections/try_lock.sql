-- Become the one that projects each of these versions, where nobody else is, for as long as this session lives; with where
-- each of them stands.
WITH locked AS MATERIALIZED (
    SELECT wanted.projection, wanted.version, pg_try_advisory_lock(projection_lock(wanted.projection, wanted.version)) AS taken
    FROM unnest(%(projections)s::text[], %(versions)s::integer[]) AS wanted (projection, version)
)
UPDATE projection_versions v SET holder = %(holder)s
FROM locked
WHERE locked.taken AND v.projection = locked.projection AND v.version = locked.version
RETURNING v.projection, v.version, v.position, v.status

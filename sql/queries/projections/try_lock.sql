-- Takes the locks of these versions for as long as this connection lives, where no other process has them; returns position
-- and status of each that it got.
WITH locked AS MATERIALIZED (
    SELECT wanted.projection, wanted.version, pg_try_advisory_lock(projection_lock(wanted.projection, wanted.version)) AS taken
    FROM unnest(%(projections)s::text[], %(versions)s::integer[]) AS wanted (projection, version)
)
UPDATE projection_versions v SET holder = %(holder)s
FROM locked
WHERE locked.taken AND v.projection = locked.projection AND v.version = locked.version
RETURNING v.projection, v.version, v.position, v.status

-- Checkpoint and fold version of the active version, its number of rows and a hash over them, in one snapshot. {table}: a
-- table of read_models; {columns}: all of its columns but the version.
SELECT v.position, v.fold_version, r.*
FROM projection_versions v
CROSS JOIN LATERAL (
    SELECT count(*), encode(sha256(coalesce(string_agg(d.digest, ''::bytea ORDER BY d.tenant, d.key), ''::bytea)), 'hex')
    FROM (
        SELECT tenant, key, sha256(convert_to(ROW({columns})::text, 'UTF8')) AS digest
        FROM {table} WHERE version = v.version
    ) d
) r
WHERE v.projection = %(projection)s AND v.state = 'active'

-- The number of rows of a version and a hash over them; the active version if %(version)s is null. {table}: a table of
-- read_models; {columns}: all of its columns but the version.
SELECT count(*), encode(sha256(coalesce(string_agg(r.digest, ''::bytea ORDER BY r.tenant, r.key), ''::bytea)), 'hex')
FROM (
    SELECT tenant, key, sha256(convert_to(ROW({columns})::text, 'UTF8')) AS digest
    FROM {table}
    WHERE version = coalesce(%(version)s::integer, (
        SELECT version FROM projection_versions WHERE projection = %(projection)s AND state = 'active'
    ))
) r

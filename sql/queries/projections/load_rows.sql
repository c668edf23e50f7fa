-- The rows of a version that a batch may change, by key. {table}: a table of read_models.
SELECT r.tenant, r.key, convert_to(r.body::text, 'UTF8')
FROM unnest(%(tenants)s::text[], %(keys)s::text[]) AS wanted (tenant, key)
JOIN {table} r ON r.version = %(version)s AND r.tenant = wanted.tenant AND r.key = wanted.key

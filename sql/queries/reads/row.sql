-- One row of the active version, with its checkpoint. {table}: a table of read_models.
SELECT v.position, r.body::text
FROM projection_versions v
LEFT JOIN {table} r ON r.version = v.version AND r.tenant = %(tenant)s AND r.key = %(key)s
WHERE v.projection = %(projection)s AND v.state = 'active'

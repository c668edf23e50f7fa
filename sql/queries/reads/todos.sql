-- A run's todo list, and whether the run existed as of the read model's checkpoint.
SELECT v.position, r.body::text,
       EXISTS (
           SELECT FROM events
           WHERE tenant = %(tenant)s AND stream = 'run:' || %(key)s::text AND seq = 1 AND position <= v.position
       )
FROM projection_versions v
LEFT JOIN read_models.todos r ON r.version = v.version AND r.tenant = %(tenant)s AND r.key = %(key)s
WHERE v.projection = 'todos' AND v.state = 'active'

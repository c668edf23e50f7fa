-- One run with the last event of its stream, as of the read model's checkpoint.
SELECT v.position, r.body::text, e.seq, e.position, e.occurred_at
FROM projection_versions v
LEFT JOIN read_models.runs r ON r.version = v.version AND r.tenant = %(tenant)s AND r.key = %(key)s
LEFT JOIN LATERAL (
    SELECT seq, position, occurred_at FROM events
    WHERE tenant = r.tenant AND stream = 'run:' || r.key AND position <= v.position
    ORDER BY seq DESC
    LIMIT 1
) e ON true
WHERE v.projection = 'runs' AND v.state = 'active'

-- Adds wanted effects; those whose id is known are left alone.
INSERT INTO effects (effect_id, kind, lane, params, caused_by, metadata, available_at)
SELECT effect_id, kind, lane, params, caused_by, metadata, clock_timestamp() + delay
FROM unnest(%(effect_ids)s::text[], %(kinds)s::text[], %(keys)s::text[], %(params)s::jsonb[], %(positions)s::bigint[],
            %(metadata)s::jsonb[], %(delays)s::interval[])
     AS wanted (effect_id, kind, lane, params, caused_by, metadata, delay)
ON CONFLICT (effect_id) DO NOTHING

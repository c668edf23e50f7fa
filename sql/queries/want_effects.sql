-- Record wanted effects, each once: an id that is known changes nothing.
INSERT INTO effects (effect_id, kind, lane, params, caused_by, metadata)
SELECT * FROM unnest(%(effect_ids)s::text[], %(kinds)s::text[], %(lanes)s::text[], %(params)s::jsonb[],
                     %(positions)s::bigint[], %(metadata)s::jsonb[])
ON CONFLICT (effect_id) DO NOTHING

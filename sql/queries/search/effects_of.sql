-- The effects that some events wanted, with their attempts.
SELECT f.effect_id, f.kind, f.state, f.caused_by, f.created_at, f.last_error,
       coalesce((SELECT jsonb_agg(jsonb_build_object(
           'attempt', a.attempt, 'owner', a.owner, 'startedAt', a.started_at, 'finishedAt', a.finished_at,
           'outcome', a.outcome, 'error', a.error) ORDER BY a.attempt)
        FROM effect_attempts a WHERE a.effect_id = f.effect_id), '[]'::jsonb)::text
FROM effects f
WHERE f.caused_by = ANY (%(positions)s::bigint[]) OR f.effect_id = %(effect_id)s
ORDER BY f.caused_by, f.effect_id
LIMIT %(limit)s

-- What these effects were wanted for has come about before anybody began them.
UPDATE effects SET state = 'obsolete', finished_at = clock_timestamp()
FROM unnest(%(kinds)s::text[], %(lanes)s::text[], %(positions)s::bigint[]) AS passed (kind, lane, position)
WHERE effects.lane = passed.lane AND effects.kind = passed.kind AND effects.state = 'ready'
  AND effects.caused_by < passed.position

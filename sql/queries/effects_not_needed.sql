-- Cancels pending effects of a kind and key (and sync id, if not empty) that were wanted before a position: their goal is
-- reached.
UPDATE effects SET state = 'obsolete', finished_at = clock_timestamp()
FROM unnest(%(kinds)s::text[], %(keys)s::text[], %(sync_ids)s::text[], %(positions)s::bigint[])
     AS passed (kind, lane, sync_id, position)
WHERE effects.lane = passed.lane AND effects.kind = passed.kind AND effects.state = 'ready'
  AND effects.caused_by < passed.position
  AND (passed.sync_id = '' OR effects.params ->> 'syncId' = passed.sync_id)

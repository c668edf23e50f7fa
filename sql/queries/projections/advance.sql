-- Move the checkpoints of a batch; see functions/advance_projections.sql.
SELECT advance_projections(%(projections)s::text[], %(versions)s::integer[], %(before)s::bigint[], %(after)s::bigint[])

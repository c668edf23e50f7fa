-- Lets one process at a time build past read models of a projection, until the end of this transaction.
SELECT pg_advisory_xact_lock(hashtextextended('past read model ' || %(projection)s::text, 0))

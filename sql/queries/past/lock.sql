-- One builder of past read models at a time for each projection, over all processes, for the rest of this transaction.
SELECT pg_advisory_xact_lock(hashtextextended('past read model ' || %(projection)s::text, 0))

-- Claims are made one at a time, so that lanes and limits are exact. A statement of its own: the claim that follows in
-- the same transaction must see what the one before it committed.
SELECT pg_advisory_xact_lock(%(lock)s)

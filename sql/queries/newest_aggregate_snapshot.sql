-- The snapshot of a stream that code with this fingerprint wrote, and whether it is of this log: the chain hash at its
-- position vouches for tenant, stream, seq and all that came before.
SELECT seq, position, digest, state,
    (SELECT event.chain_hash = snapshot.chain_hash FROM events AS event WHERE event.position = snapshot.position) IS TRUE
FROM aggregate_snapshots AS snapshot
WHERE tenant = %(tenant)s AND stream = %(stream)s AND fingerprint = %(fingerprint)s

-- The snapshot of a stream by code with this fingerprint, and whether it belongs to this log: the chain hash at its position
-- proves tenant, stream, seq and all earlier events of the stream.
SELECT seq, position, digest, state,
    (SELECT event.chain_hash = snapshot.chain_hash FROM events AS event WHERE event.position = snapshot.position) IS TRUE
FROM aggregate_snapshots AS snapshot
WHERE tenant = %(tenant)s AND stream = %(stream)s AND fingerprint = %(fingerprint)s

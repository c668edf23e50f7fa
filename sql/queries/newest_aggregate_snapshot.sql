-- The snapshot of a stream that code with this fingerprint wrote, and whether it is of this log.
SELECT snapshot.seq, snapshot.position, snapshot.digest, snapshot.state, event.position IS NOT NULL
FROM aggregate_snapshots AS snapshot
LEFT JOIN events AS event
    ON event.tenant = snapshot.tenant
    AND event.stream = snapshot.stream
    AND event.seq = snapshot.seq
    AND event.position = snapshot.position
    AND event.chain_hash = snapshot.chain_hash
WHERE snapshot.tenant = %(tenant)s AND snapshot.stream = %(stream)s AND snapshot.fingerprint = %(fingerprint)s

-- Stores a snapshot if the log has its event. It replaces an older one, and any that does not belong to this log.
INSERT INTO aggregate_snapshots AS present
    (tenant, stream, seq, position, chain_hash, fingerprint, digest, state)
SELECT tenant, stream, seq, position, chain_hash, %(fingerprint)s, %(digest)s, %(state)s
FROM events
WHERE position = %(position)s AND tenant = %(tenant)s AND stream = %(stream)s AND seq = %(seq)s
ON CONFLICT (tenant, stream) DO UPDATE
SET seq = excluded.seq,
    position = excluded.position,
    chain_hash = excluded.chain_hash,
    fingerprint = excluded.fingerprint,
    digest = excluded.digest,
    state = excluded.state,
    written_at = clock_timestamp()
WHERE excluded.seq >= present.seq
    OR NOT EXISTS (
        SELECT FROM events AS event WHERE event.position = present.position AND event.chain_hash = present.chain_hash
    )

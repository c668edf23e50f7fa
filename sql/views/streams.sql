-- The head of each stream: its last seq, that event's position and chain hash. For one stream it is a single index descent.
CREATE OR REPLACE VIEW streams AS
SELECT DISTINCT ON (e.tenant, e.stream)
    e.tenant,
    e.stream,
    e.seq AS last_seq,
    e.position AS last_position,
    e.chain_hash
FROM events e
ORDER BY e.tenant, e.stream, e.seq DESC;

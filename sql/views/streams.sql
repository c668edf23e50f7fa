-- The last event of each stream: its seq, position and chain hash. For one stream it is a single index lookup; a server
-- of version 15 reads that stream.
CREATE OR REPLACE VIEW streams AS
SELECT DISTINCT ON (e.tenant, e.stream)
    e.tenant,
    e.stream,
    e.seq AS last_seq,
    e.position AS last_position,
    e.chain_hash
FROM events e
ORDER BY e.tenant, e.stream, e.seq DESC;

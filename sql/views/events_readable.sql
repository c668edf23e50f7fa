-- The log for people with psql. payload and metadata as jsonb are null if jsonb refuses them; see payload_text,
-- payload_bytes and metadata_text then.
CREATE OR REPLACE VIEW events_readable AS
SELECT
    e.position,
    e.tenant,
    e.stream,
    e.seq,
    e.type,
    e.schema_version,
    e.event_id,
    e.occurred_at,
    e.recorded_at,
    jsonb_or_null(e.metadata) AS metadata,
    e.metadata AS metadata_text,
    jsonb_or_null(text_or_null(e.payload)) AS payload,
    text_or_null(e.payload) AS payload_text,
    e.payload AS payload_bytes,
    encode(e.payload_hash, 'hex') AS payload_hash,
    encode(e.chain_hash, 'hex') AS chain_hash
FROM events e;

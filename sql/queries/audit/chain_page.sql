-- A part of the log as infrastructure/audit/chain.py checks it: the input of each event's chain hash without the previous
-- hash, the chain hash, and the payload. The bounds are inserted as numbers, because COPY takes no parameters.
COPY (
    SELECT position, seq, recorded_at,
           convert_to(tenant, 'UTF8') || '\x00'::bytea || convert_to(stream, 'UTF8'),
           record_send(ROW(''::bytea, position, tenant, stream, seq, type, schema_version, event_id, occurred_at,
                           recorded_at, metadata, payload_hash)),
           chain_hash, payload
    FROM events
    WHERE position > {after} AND position <= {up_to}
    ORDER BY position
) TO STDOUT (FORMAT binary)

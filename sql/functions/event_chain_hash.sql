-- The chain hash of an event; migrations/0001_event_log.sql says how to recompute it elsewhere. `previous`: the chain hash
-- of the event before it in its stream, empty (not null) for the first one. Postgres inlines the function.
CREATE OR REPLACE FUNCTION event_chain_hash(
    previous bytea,
    "position" bigint,
    tenant text,
    stream text,
    seq bigint,
    type text,
    schema_version integer,
    event_id text,
    occurred_at timestamptz,
    recorded_at timestamptz,
    metadata text,
    payload_hash bytea
) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT sha256(record_send(ROW($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)))
$$;

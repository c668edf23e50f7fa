-- append_events() for a single request of one event, without arrays and loops, with the same result. A request that is to be
-- refused goes to append_events(), which makes the refusal; the advisory lock may be taken twice.
CREATE OR REPLACE FUNCTION append_event(
    event_tenant text,
    event_stream text,
    expected_seq bigint,
    event_type text,
    event_version integer,
    new_event_id text,
    event_time timestamptz,
    event_metadata text,
    event_payload bytea,
    event_hash bytea,
    announced text DEFAULT ''
) RETURNS text LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    last bigint;
    batch_time timestamptz;
    head record;
    hash bytea;
BEGIN
    PERFORM pg_advisory_xact_lock(log_lock());

    SELECT e.position, greatest(e.recorded_at, clock_timestamp()) INTO last, batch_time
    FROM events e ORDER BY e.position DESC LIMIT 1;
    IF NOT FOUND THEN
        last := 0;
        batch_time := clock_timestamp();
    END IF;

    SELECT e.seq, e.chain_hash INTO head
    FROM events e
    WHERE e.tenant = event_tenant AND e.stream = event_stream AND e.seq >= expected_seq AND e.seq <= expected_seq + 1
    ORDER BY e.seq DESC
    LIMIT 1;
    IF coalesce(head.seq, least(expected_seq, 0)) <> expected_seq OR head.seq IS NOT NULL AND EXISTS (
        SELECT FROM events e
        WHERE e.event_id = new_event_id AND e.stream = event_stream AND e.tenant || '' = event_tenant
    ) THEN
        RETURN append_events(
            event_tenant, ARRAY[event_stream], ARRAY[1], ARRAY[expected_seq], ARRAY[1], ARRAY[event_type],
            ARRAY[event_version], ARRAY[new_event_id], ARRAY[event_time], ARRAY[event_metadata], ARRAY[event_payload],
            ARRAY[event_hash], announced);
    END IF;

    hash := event_chain_hash(
        coalesce(head.chain_hash, ''), last + 1, event_tenant, event_stream, expected_seq + 1, event_type, event_version,
        new_event_id, event_time, batch_time, event_metadata, event_hash);
    INSERT INTO events (position, seq, occurred_at, recorded_at, schema_version, tenant, stream, type, event_id, metadata,
                        payload_hash, chain_hash, payload)
    VALUES (last + 1, expected_seq + 1, event_time, batch_time, event_version, event_tenant, event_stream, event_type,
            new_event_id, event_metadata, event_hash, hash, event_payload);
    PERFORM pg_notify('fleetlog_events', notification(last + 1, batch_time, announced));
    RETURN last::text;
END
$$;

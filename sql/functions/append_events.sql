-- Appends a batch of requests, each all or none, in one transaction of its own: the only writer of events and streams.
--
-- Request i is `request_sizes[i]` consecutive events for one stream, which must be at `request_seqs[i]`. The event arrays
-- hold the events of all requests in order; `event_streams` are indexes into `batch_streams`, which names each stream once.
-- A new stream is at 0, or at -1 for a caller who counts from 0 (some of the eventsourcing library's do). No event id may occur twice for one stream in one batch: the caller puts the second one into a later batch.
--
-- Returns the last position before this batch, and the requests that were refused, as a JSON array, null when there are
-- none: {"request": i, "actual": seq} when the stream is at another seq or has only some of the event ids already;
-- {"request": i, "positions": [...], "lastSeq": n, "same": bool} when it has them all. `same`: what is stored there is
-- what the request would have stored, at the seqs where it would have stood. The events of the other requests got the
-- following positions, in order. A refused request does not disturb the others.
--
-- The advisory lock is held to the end of the transaction, and every statement of a volatile function takes a new
-- snapshot: whoever holds the lock sees all positions before its own, and no reader sees a position before a lower one.
-- The planner settings keep a plan that was cached while the log was empty from scanning it when it has grown.
CREATE OR REPLACE FUNCTION append_events(
    batch_tenant text,
    batch_streams text[],
    request_sizes integer[],
    request_seqs bigint[],
    event_streams integer[],
    event_types text[],
    event_versions integer[],
    event_ids text[],
    event_times timestamptz[],
    event_metadata text[],
    event_payloads bytea[],
    OUT position_before bigint,
    OUT refused jsonb
) LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    log_lock CONSTANT bigint := 5067271820452197;  -- any number, the same for all writers of the log
    batch_time timestamptz;
    head_seqs bigint[];
    head_positions bigint[];
    head_hashes bytea[];
    known jsonb;  -- event number -> [position, seq, same], of events that their streams have already
    known_count integer := 0;
    last bigint;
    head bigint;
    hash bytea;
    payload_hash bytea;
    stream_number integer;
    first_event integer := 1;
    past_event integer;
    positions bigint[];
    seqs bigint[];
    payload_hashes bytea[];
    chain_hashes bytea[];
BEGIN
    PERFORM pg_advisory_xact_lock(log_lock);

    SELECT e.position, greatest(e.recorded_at, clock_timestamp()) INTO last, batch_time
    FROM events e ORDER BY e.position DESC LIMIT 1;
    IF NOT FOUND THEN
        last := 0;
        batch_time := clock_timestamp();
    END IF;
    position_before := last;

    SELECT array_agg(h.last_seq ORDER BY s.number),
           array_agg(coalesce(h.chain_hash, '') ORDER BY s.number)
    INTO head_seqs, head_hashes
    FROM unnest(batch_streams) WITH ORDINALITY AS s (stream, number)
    LEFT JOIN streams h ON h.tenant = batch_tenant AND h.stream = s.stream;

    SELECT jsonb_object_agg(n.number, jsonb_build_array(
               e.position, e.seq,
               e.type = event_types[n.number] AND e.schema_version = event_versions[n.number]
               AND e.occurred_at = event_times[n.number] AND e.metadata = event_metadata[n.number]
               AND e.payload_hash = sha256(event_payloads[n.number])))
    INTO known
    FROM unnest(event_streams, event_ids) WITH ORDINALITY AS n (stream_number, event_id, number)
    JOIN events e ON e.event_id = n.event_id AND e.stream = batch_streams[n.stream_number] AND e.tenant || '' = batch_tenant
    WHERE head_seqs[n.stream_number] IS NOT NULL;

    -- Whole from the start: an array whose first assigned element is not number 1 would begin there, and be shifted
    -- against the others in unnest() whenever the first request is refused.
    head_positions := array_fill(NULL::bigint, ARRAY[cardinality(batch_streams)]);
    positions := array_fill(NULL::bigint, ARRAY[cardinality(event_ids)]);
    seqs := positions;
    payload_hashes := array_fill(NULL::bytea, ARRAY[cardinality(event_ids)]);
    chain_hashes := payload_hashes;

    FOR request IN 1 .. cardinality(request_sizes) LOOP
        stream_number := event_streams[first_event];
        past_event := first_event + request_sizes[request];
        head := coalesce(head_seqs[stream_number], least(request_seqs[request], 0));
        IF known IS NOT NULL THEN
            SELECT count(*) INTO known_count
            FROM generate_series(first_event, past_event - 1) AS n (number) WHERE known ? n.number::text;
        END IF;
        IF known_count = request_sizes[request] THEN
            refused := coalesce(refused, '[]') || (
                SELECT jsonb_build_object(
                    'request', request,
                    'positions', jsonb_agg(known -> n.number::text -> 0 ORDER BY n.number),
                    'lastSeq', known -> (past_event - 1)::text -> 1,
                    'same', bool_and((known -> n.number::text -> 2)::boolean
                        AND (known -> n.number::text -> 1)::bigint = request_seqs[request] + 1 + n.number - first_event))
                FROM generate_series(first_event, past_event - 1) AS n (number));
        ELSIF known_count > 0 OR head <> request_seqs[request] THEN
            refused := coalesce(refused, '[]') || jsonb_build_object('request', request, 'actual', head);
        ELSE
            hash := head_hashes[stream_number];
            FOR event IN first_event .. past_event - 1 LOOP
                last := last + 1;
                head := head + 1;
                payload_hash := sha256(event_payloads[event]);
                hash := sha256(record_send(ROW(
                    hash, last, batch_tenant, batch_streams[stream_number], head, event_types[event],
                    event_versions[event], event_ids[event], event_times[event], batch_time, event_metadata[event],
                    payload_hash)));
                positions[event] := last;
                seqs[event] := head;
                payload_hashes[event] := payload_hash;
                chain_hashes[event] := hash;
            END LOOP;
            head_seqs[stream_number] := head;
            head_hashes[stream_number] := hash;
            head_positions[stream_number] := last;
        END IF;
        first_event := past_event;
    END LOOP;
    IF last = position_before THEN
        RETURN;
    END IF;

    INSERT INTO events (position, seq, occurred_at, recorded_at, schema_version, tenant, stream, type, event_id, metadata,
                        payload_hash, chain_hash, payload)
    SELECT n.position, n.seq, n.occurred_at, batch_time, n.schema_version, batch_tenant, batch_streams[n.stream_number],
           n.type, n.event_id, n.metadata, n.payload_hash, n.chain_hash, n.payload
    FROM unnest(positions, seqs, event_times, event_versions, event_streams, event_types, event_ids, event_metadata,
                payload_hashes, chain_hashes, event_payloads)
         AS n (position, seq, occurred_at, schema_version, stream_number, type, event_id, metadata, payload_hash,
               chain_hash, payload)
    WHERE n.position IS NOT NULL;

    INSERT INTO streams (tenant, stream, last_seq, last_position, chain_hash)
    SELECT batch_tenant, n.stream, n.last_seq, n.last_position, n.chain_hash
    FROM unnest(batch_streams, head_seqs, head_positions, head_hashes) AS n (stream, last_seq, last_position, chain_hash)
    WHERE n.last_position IS NOT NULL
    ON CONFLICT (tenant, stream) DO UPDATE
    SET last_seq = excluded.last_seq, last_position = excluded.last_position, chain_hash = excluded.chain_hash;

    PERFORM pg_notify('fleetlog_events', last::text);
END
$$;

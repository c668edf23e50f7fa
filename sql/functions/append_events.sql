-- The only writer of events: appends a batch of requests in a transaction of its own. Each request is all or nothing.
--
-- Request i has abs(request_sizes[i]) consecutive events for one stream, whose last seq must be request_seqs[i]. If the size
-- is negative, the request is refused unless the request before it is written. The event arrays hold the events of all
-- requests in order; `event_streams` are indexes into `batch_streams`, which has each stream once, in order of first
-- appearance. The last seq of a new stream is 0, or -1 for a caller who counts from 0 (some parts of the eventsourcing
-- library do). No event id may occur twice for one stream in one batch: the caller puts the second one into a later batch.
--
-- Returns the last position before this batch in decimal digits, followed by a JSON array of the refused requests, if there
-- are any: {"request": i, "actual": seq} if the stream's last seq is another one, or the stream has only some of the event
-- ids already; {"request": i, "positions": [...], "lastSeq": n, "same": bool} if it has them all. `same`: the stored events
-- equal those of the request, at the seqs that these would have got. The events of the other requests got the following
-- positions, in order. A refused request does not affect the others.
--
-- `announced`: the events for the NOTIFY, sent if no request is refused (infrastructure/postgres/event_store/announcement.py);
-- may be empty.
--
-- The advisory lock is held until the end of the transaction, and every statement of a volatile function takes a new
-- snapshot. So the holder of the lock sees all lower positions, and positions become visible to readers in order.
--
-- The planner settings avoid planning at every call, and prevent a plan from the time when the log was empty from scanning
-- all of it later. For the same reason LATERAL with OFFSET 0 fixes the join order, and `tenant || ''` excludes other indexes.
-- Before version 18 a scan that is off counts as so expensive that every session would compile the statement: hence `jit`.
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
    event_hashes bytea[],
    announced text DEFAULT ''
) RETURNS text LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_bitmapscan = off
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    last bigint;
    position_before bigint;
    batch_time timestamptz;
    head_seqs bigint[];  -- null for a new stream
    head_hashes bytea[];
    known jsonb;  -- event number -> [position, seq, same], of events that their streams have already
    known_count integer := 0;
    size integer;
    has_its_turn boolean;
    written boolean := false;
    refused jsonb;
    first_event integer := 1;
    past_event integer;
    stream_number integer;
    head bigint;
    hash bytea;
    positions bigint[];
    seqs bigint[];
    chain_hashes bytea[];
BEGIN
    PERFORM pg_advisory_xact_lock(log_lock());

    SELECT e.position, greatest(e.recorded_at, clock_timestamp()) INTO last, batch_time
    FROM events e ORDER BY e.position DESC LIMIT 1;
    IF NOT FOUND THEN
        last := 0;
        batch_time := clock_timestamp();
    END IF;
    position_before := last;

    IF cardinality(batch_streams) = cardinality(event_ids) THEN
        -- One event for each of several streams: by far the most frequent batch with many callers. A stream is at the
        -- expected seq if it has the event of that seq and not the next one.
        SELECT array_agg(coalesce(h.seq, least(n.expected_seq, 0)) ORDER BY n.number),
               array_agg(coalesce(h.chain_hash, '') ORDER BY n.number)
        INTO head_seqs, head_hashes
        FROM unnest(batch_streams, request_seqs) WITH ORDINALITY AS n (stream, expected_seq, number)
        LEFT JOIN LATERAL (
            SELECT e.seq, e.chain_hash FROM events e
            WHERE e.tenant = batch_tenant AND e.stream = n.stream
              AND e.seq >= n.expected_seq AND e.seq <= n.expected_seq + 1
            ORDER BY e.seq DESC
            LIMIT 1
        ) h ON true;

        IF head_seqs = request_seqs AND NOT EXISTS (
            SELECT FROM generate_series(1, cardinality(event_ids)) AS n (number)
            CROSS JOIN LATERAL (
                SELECT FROM events e
                WHERE e.event_id = event_ids[n.number] AND e.stream = batch_streams[n.number]
                  AND e.tenant || '' = batch_tenant
                OFFSET 0
            ) e
            WHERE head_hashes[n.number] <> ''
        ) THEN
            INSERT INTO events (position, seq, occurred_at, recorded_at, schema_version, tenant, stream, type, event_id,
                                metadata, payload_hash, chain_hash, payload)
            SELECT last + n.number, head_seqs[n.number] + 1, event_times[n.number], batch_time, event_versions[n.number],
                   batch_tenant, batch_streams[n.number], event_types[n.number], event_ids[n.number],
                   event_metadata[n.number], event_hashes[n.number],
                   event_chain_hash(
                       head_hashes[n.number], last + n.number, batch_tenant, batch_streams[n.number],
                       head_seqs[n.number] + 1, event_types[n.number], event_versions[n.number], event_ids[n.number],
                       event_times[n.number], batch_time, event_metadata[n.number], event_hashes[n.number]),
                   event_payloads[n.number]
            FROM generate_series(1, cardinality(event_ids)) AS n (number);
            PERFORM pg_notify(
                'fleetlog_events', notification(last + cardinality(event_ids), batch_time, announced));
            RETURN last::text;
        END IF;
    END IF;

    SELECT array_agg(h.seq ORDER BY n.number), array_agg(coalesce(h.chain_hash, '') ORDER BY n.number)
    INTO head_seqs, head_hashes
    FROM unnest(batch_streams) WITH ORDINALITY AS n (stream, number)
    LEFT JOIN LATERAL (
        SELECT e.seq, e.chain_hash FROM events e
        WHERE e.tenant = batch_tenant AND e.stream = n.stream
        ORDER BY e.seq DESC
        LIMIT 1
    ) h ON true;

    SELECT jsonb_object_agg(n.number, jsonb_build_array(
               e.position, e.seq,
               e.type = event_types[n.number] AND e.schema_version = event_versions[n.number]
               AND e.occurred_at = event_times[n.number] AND e.metadata = event_metadata[n.number]
               AND e.payload_hash = event_hashes[n.number]))
    INTO known
    FROM generate_series(1, cardinality(event_ids)) AS n (number)
    CROSS JOIN LATERAL (
        SELECT * FROM events e
        WHERE e.event_id = event_ids[n.number] AND e.stream = batch_streams[event_streams[n.number]]
          AND e.tenant || '' = batch_tenant
        OFFSET 0
    ) e
    WHERE head_seqs[event_streams[n.number]] IS NOT NULL;

    FOR request IN 1 .. cardinality(request_sizes) LOOP
        size := abs(request_sizes[request]);
        has_its_turn := written OR request_sizes[request] > 0;
        written := false;
        past_event := first_event + size;
        stream_number := event_streams[first_event];
        head := coalesce(head_seqs[stream_number], least(request_seqs[request], 0));
        IF known IS NOT NULL THEN
            SELECT count(*) INTO known_count
            FROM generate_series(first_event, past_event - 1) AS n (number) WHERE known ? n.number::text;
        END IF;
        IF known_count = size THEN
            refused := coalesce(refused, '[]') || (
                SELECT jsonb_build_object(
                    'request', request,
                    'positions', jsonb_agg(known -> n.number::text -> 0 ORDER BY n.number),
                    'lastSeq', known -> (past_event - 1)::text -> 1,
                    'same', bool_and(
                        (known -> n.number::text -> 2)::boolean
                        AND (known -> n.number::text -> 1)::bigint = request_seqs[request] + 1 + n.number - first_event))
                FROM generate_series(first_event, past_event - 1) AS n (number));
        ELSIF known_count > 0 OR head <> request_seqs[request] OR NOT has_its_turn THEN
            refused := coalesce(refused, '[]') || jsonb_build_object('request', request, 'actual', head);
        ELSE
            hash := head_hashes[stream_number];
            FOR event IN first_event .. past_event - 1 LOOP
                last := last + 1;
                head := head + 1;
                hash := event_chain_hash(
                    hash, last, batch_tenant, batch_streams[stream_number],
                    head, event_types[event], event_versions[event], event_ids[event],
                    event_times[event], batch_time, event_metadata[event], event_hashes[event]);
                positions[event] := last;
                seqs[event] := head;
                chain_hashes[event] := hash;
            END LOOP;
            written := true;
            head_seqs[stream_number] := head;
            head_hashes[stream_number] := hash;
        END IF;
        first_event := past_event;
    END LOOP;

    IF last > position_before THEN
        INSERT INTO events (position, seq, occurred_at, recorded_at, schema_version, tenant, stream, type, event_id,
                            metadata, payload_hash, chain_hash, payload)
        SELECT positions[n.number], seqs[n.number], event_times[n.number], batch_time, event_versions[n.number],
               batch_tenant, batch_streams[event_streams[n.number]], event_types[n.number], event_ids[n.number],
               event_metadata[n.number], event_hashes[n.number], chain_hashes[n.number], event_payloads[n.number]
        FROM generate_series(1, cardinality(event_ids)) AS n (number)
        WHERE positions[n.number] IS NOT NULL;

        PERFORM pg_notify(
            'fleetlog_events',
            notification(last, batch_time, CASE WHEN refused IS NULL THEN announced ELSE '' END));
    END IF;
    RETURN position_before::text || coalesce(refused::text, '');
END
$$;

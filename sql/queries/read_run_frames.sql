-- The SSE frames of a run's events after a seq, in one value, as infrastructure/streams/run_frames.py writes them: at most
-- max_rows events and about max_bytes. The batch ends after an event of `last_types`, whose columns are returned too, and
-- before an event whose "type version" is in `aged`, because it has to be upcast.
SELECT
    string_agg(
        convert_to(
            'id: ' || seq || E'\nevent: ' || type || E'\ndata: {"type":"' || type || %(envelope)s || seq
            || ',"position":' || position
            || ',"ts":' || left(to_json(occurred_at AT TIME ZONE 'UTC')::text, -1)
            || CASE WHEN octet_length(payload) > 2 THEN 'Z",' ELSE 'Z"}' END, 'UTF8')
        || CASE WHEN octet_length(payload) > 2 THEN substr(payload, 2) ELSE ''::bytea END
        || '\x0a0a'::bytea,
        ''::bytea ORDER BY seq) FILTER (WHERE taken) AS frames,
    max(seq) FILTER (WHERE taken) AS last_seq,
    count(*) = %(max_rows)s OR bool_or(NOT taken) AS more,
    coalesce(bool_or(aged), false) AS aged,
    max(type) FILTER (WHERE taken AND is_last) AS last_type,
    max(schema_version) FILTER (WHERE taken AND is_last) AS last_version,
    max(occurred_at) FILTER (WHERE taken AND is_last) AS last_occurred_at,
    string_agg(payload, ''::bytea) FILTER (WHERE taken AND is_last) AS last_payload
FROM (
    SELECT
        *,
        coalesce(sum(octet_length(payload) + 256) OVER earlier < %(max_bytes)s, true)
        AND coalesce(NOT bool_or(is_last) OVER earlier, true)
        AND NOT bool_or(aged) OVER (ORDER BY seq) AS taken
    FROM (
        SELECT
            seq, position, type, schema_version, occurred_at, payload,
            type = ANY(%(last_types)s::text[]) AS is_last,
            type || ' ' || schema_version = ANY(%(aged)s::text[]) AS aged
        FROM events
        WHERE tenant = %(tenant)s AND stream = %(stream)s AND seq > %(after)s
        ORDER BY seq
        LIMIT %(max_rows)s
    ) next
    WINDOW earlier AS (ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
) bounded

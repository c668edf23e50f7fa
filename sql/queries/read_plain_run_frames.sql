-- The SSE frames of a run's plain events after one seq and up to another, without the first 'id: ' and the last empty line,
-- and their number. Plain: neither large nor empty, of a type and version that need no decoding; the payload must be UTF-8.
-- It takes half the time of read_run_frames.sql, which handles every case: index order saves a sort in the aggregate, and
-- FILTER or to_char would each add a third.
SELECT
    string_agg(
        seq
        || CASE type WHEN 'message.delta' THEN %(delta)s::text
           ELSE E'\nevent: ' || type || E'\ndata: {"type":"' || type || %(envelope)s::text END
        || seq || ',"position":' || position
        || ',"ts":' || left(to_json(occurred_at AT TIME ZONE 'UTC')::text, -1) || 'Z",'
        || convert_from(substr(payload, 2), 'UTF8'),
        E'\n\nid: ' ORDER BY seq),
    count(*)
FROM events
WHERE tenant = %(tenant)s AND stream = %(stream)s AND seq > %(after)s AND seq <= %(up_to)s
    AND octet_length(payload) BETWEEN 3 AND %(max_payload)s
    AND type = ANY(%(plain)s::text[]) AND schema_version = 1

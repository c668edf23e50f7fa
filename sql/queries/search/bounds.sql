-- Where a search begins and ends: the log's end, how far the index is, and the positions of two times (null for none).
SELECT (SELECT coalesce(max(position), 0) FROM events),
       (SELECT position FROM event_index_checkpoint),
       position_at(%(recorded_from)s::timestamptz - interval '1 microsecond'),
       position_at(%(recorded_to)s)

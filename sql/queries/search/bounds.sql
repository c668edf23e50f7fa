-- The bounds of a search: the log's end, the checkpoint of the event index, and the positions of two times (null if not
-- given).
SELECT (SELECT coalesce(max(position), 0) FROM events),
       (SELECT position FROM event_index_checkpoint),
       position_at(%(recorded_from)s::timestamptz - interval '1 microsecond'),
       position_at(%(recorded_to)s)

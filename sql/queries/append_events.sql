-- One batch; see functions/append_events.sql.
SELECT append_events(%s, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b)

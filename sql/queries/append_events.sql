-- One batch; see functions/append_events.sql.
SELECT position_before, refused::text FROM append_events(%s, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b)

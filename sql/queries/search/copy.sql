-- Rows for the event index, many at once.
COPY event_index (position, tenant, actor, correlation_id, causation_id, words) FROM STDIN

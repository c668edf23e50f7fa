-- See functions/append_events.sql; one of the two prepared statements of an appending connection.
PREPARE append_events AS SELECT append_events($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)

-- See functions/append_event.sql; one of the two prepared statements of an appending connection.
PREPARE append_event AS SELECT append_event($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)

-- One event of a lone caller, the other statement of a committer's connection.
PREPARE append_event AS SELECT append_event($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)

-- Moves the position of an application's consumer forward; returns no row if it is there already.
INSERT INTO process_tracking AS tracked (tenant, application_name, position)
VALUES (%(tenant)s, %(application_name)s, %(position)s)
ON CONFLICT (tenant, application_name) DO UPDATE
SET position = excluded.position
WHERE tracked.position < excluded.position
RETURNING position

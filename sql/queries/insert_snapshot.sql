-- Stores a snapshot of the eventsourcing library; the primary key refuses a second one of the same version.
INSERT INTO snapshots (tenant, stream, seq, topic, state)
VALUES (%(tenant)s, %(stream)s, %(seq)s, %(topic)s, %(state)s)

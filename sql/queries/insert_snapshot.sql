-- A snapshot of an aggregate at a version; a second one at the same version is refused by the key.
INSERT INTO snapshots (tenant, stream, seq, topic, state)
VALUES (%(tenant)s, %(stream)s, %(seq)s, %(topic)s, %(state)s)

-- Begins a past read model; others see it when the transaction that fills it commits.
INSERT INTO past.versions (projection, fold_version, position)
VALUES (%(projection)s, %(fold_version)s, %(position)s)
RETURNING version

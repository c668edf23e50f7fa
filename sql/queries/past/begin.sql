-- Begin a past read model; seen by others when the transaction that fills it commits.
INSERT INTO past.versions (projection, fold_version, position)
VALUES (%(projection)s, %(fold_version)s, %(position)s)
RETURNING version

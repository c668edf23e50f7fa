"""The log on Postgres: group commit, reading, and the `eventsourcing` library's persistence on the same tables."""

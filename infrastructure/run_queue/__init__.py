"""The run queue on Postgres."""

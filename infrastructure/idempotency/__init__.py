"""Idempotency keys on Postgres."""

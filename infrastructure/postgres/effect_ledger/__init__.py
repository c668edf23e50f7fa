"""The effect ledger on Postgres."""

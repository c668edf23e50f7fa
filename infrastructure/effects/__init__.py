"""The effect ledger on Postgres, and the worker that performs what is in it."""

"""Reads on Postgres: the read models now and in the past, waiting for them, and their administration."""

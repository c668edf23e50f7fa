"""Backends of a database, as an administrator sees them."""

import psycopg


def kill_backends(dsn: str) -> None:
    """End all other connections to the database, and return when they are gone."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

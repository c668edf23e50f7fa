"""Backends of a database, as an administrator sees them."""

import asyncio
import threading

import psycopg


def kill_backends(dsn: str) -> None:
    """End all other connections to the database, and return when they are gone."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


async def until_one_waits_for_the_log(dsn: str) -> None:
    """Return when a session waits for the lock under which positions are assigned; fail after 10 seconds."""

    waiting = (
        "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )

    def wait() -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            while not connection.execute(waiting).fetchall():
                threading.Event().wait(0.005)

    async with asyncio.timeout(90):
        await asyncio.to_thread(wait)

"""What a process learns about new events, and how soon."""

import asyncio
import time

import psycopg

from infrastructure.postgres.event_store.store import GroupCommitEventStore
from infrastructure.postgres.listener import PostgresListener
from tests.support.backends import kill_backends
from tests.support.log_events import new_events


def test_the_position_follows_the_appends_of_any_process(database: str) -> None:
    async def run() -> None:
        async with GroupCommitEventStore(database) as store, PostgresListener(database, poll_seconds=30) as listener:
            await store.append("run:0", 0, new_events("before"))
            assert await listener.position.wait_for(0, timeout=90) >= 1
            for position in range(2, 12):
                await store.append(f"run:{position}", 0, new_events("x"))
                assert await listener.position.wait_for(position - 1, timeout=90) >= position
            assert await listener.position.wait_for(11, timeout=0.05) == 11

    asyncio.run(run())


def test_a_killed_listen_connection_delays_its_subscribers_by_less_than_a_second(database: str) -> None:
    async def run() -> None:
        async with GroupCommitEventStore(database) as store, PostgresListener(database, poll_seconds=30) as listener:
            await store.append("run:1", 0, new_events("before"))
            await listener.position.wait_for(0, timeout=250)
            delays = []
            for last in (1, 2, 3):
                await asyncio.to_thread(kill_backends, database)
                started = time.monotonic()
                await store.append("run:1", last, new_events("after"))
                assert await listener.position.wait_for(last, timeout=90) == last + 1
                delays.append(time.monotonic() - started)
            assert min(delays) < 1, delays  # a busy machine may be late now and then

    asyncio.run(run())


def test_other_channels_wake_each_of_their_subscribers(database: str) -> None:
    async def run() -> None:
        listener = PostgresListener(database, poll_seconds=30)
        with listener.subscribe("jobs") as first, listener.subscribe("jobs") as second:
            async with listener:
                await listener.position.wait_for(0, timeout=0.5)
                for signal in (first, second):
                    assert await signal.wait(timeout=250)
                    assert not await signal.wait(timeout=0.05)
                await asyncio.to_thread(notify, database, "jobs")
                assert await first.wait(timeout=250)
                assert await second.wait(timeout=250)

    asyncio.run(run())


def notify(dsn: str, channel: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SELECT pg_notify(%s, '')", (channel,))

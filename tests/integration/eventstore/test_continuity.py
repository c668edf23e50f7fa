"""A process notices when the log does not continue what it has seen of it, and writes nothing more."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import LiteralString

import psycopg
import pytest

from application.ports.event_store import LogWentBack
from infrastructure.postgres.continuity import LogContinuity
from infrastructure.postgres.event_store.errors import EventStoreUnavailable
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from infrastructure.postgres.listener import PostgresListener
from infrastructure.streams.hub import StreamHub
from tests.support.async_run import run
from tests.support.backends import kill_backends
from tests.support.log_events import new_events

LOSE_THE_LAST = "DELETE FROM events WHERE position = (SELECT max(position) FROM events)"
REPLACE_THE_LAST = "UPDATE events SET event_id = 'another' WHERE position = (SELECT max(position) FROM events)"


@asynccontextmanager
async def process(dsn: str, *, poll_s: float = 3600.0) -> AsyncIterator[tuple[GroupCommitEventStore, LogContinuity]]:
    """A process's connections to the log; by default they look only when they are made anew."""
    continuity = LogContinuity()
    async with (
        GroupCommitEventStore(dsn, continuity=continuity) as store,
        PostgresListener(dsn, poll_seconds=poll_s, continuity=continuity) as listener,
        StreamHub(dsn, announcements=listener.position, poll_seconds=poll_s, continuity=continuity),
    ):
        yield store, continuity


def fail_over(dsn: str, loss: LiteralString = LOSE_THE_LAST) -> None:
    """To a server whose log lacks the last event, or has another one in its place; all connections are gone."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(loss)
    kill_backends(dsn)


def test_lost_connections_alone_are_nothing(database: str) -> None:
    async def scenario() -> None:
        async with process(database) as (store, continuity):
            await store.append("run:1", 0, new_events("first", "second"))
            await asyncio.to_thread(kill_backends, database)
            await store.append("run:1", 2, new_events("third"))
            assert continuity.broken == ""

    run(scenario())


def test_after_a_failover_that_lost_an_own_commit_nothing_is_appended(database: str) -> None:
    async def scenario() -> None:
        async with process(database) as (store, continuity):
            await store.append("run:1", 0, new_events("first", "second"))
            await asyncio.to_thread(fail_over, database)
            with pytest.raises(LogWentBack, match=r"at position 2, and the log, which ends at position 1, has no such"):
                await store.append("run:1", 2, new_events("third"))
            with pytest.raises(EventStoreUnavailable):
                await store.append("run:2", 0, new_events("other"))
            assert await store.last_position() == 1
            with pytest.raises(LogWentBack):
                await continuity.until_broken()

    run(scenario())


def test_what_another_process_wrote_in_the_place_of_the_lost_commit_does_not_hide_the_loss(database: str) -> None:
    async def scenario() -> None:
        async with process(database) as (store, _):
            await store.append("run:1", 0, new_events("first", "second"))
            await asyncio.to_thread(fail_over, database, REPLACE_THE_LAST)
            with pytest.raises(LogWentBack, match=r"at position 2, and the log, .* has another there"):
                await store.append("run:1", 2, new_events("third"))

    run(scenario())


def test_a_process_that_only_reads_notices_what_it_has_read(database: str) -> None:
    async def scenario() -> None:
        async with process(database) as (_, continuity), GroupCommitEventStore(database) as other:
            written = await other.append("run:1", 0, new_events("first", "second"))
            async with asyncio.timeout(60):
                while continuity.last_seen < written.position:
                    await asyncio.sleep(0.01)
                await asyncio.to_thread(fail_over, database)
                with pytest.raises(LogWentBack):
                    await continuity.until_broken()

    run(scenario())


def test_a_log_that_was_replaced_under_living_connections_is_noticed_by_the_clock(database: str) -> None:
    async def scenario() -> None:
        async with process(database, poll_s=0.05) as (store, continuity):
            await store.append("run:1", 0, new_events("first", "second"))
            async with asyncio.timeout(60):
                while continuity.last_hashed < 2:
                    await asyncio.sleep(0.01)
                with psycopg.connect(database, autocommit=True) as connection:
                    connection.execute("UPDATE events SET chain_hash = sha256('another log') WHERE position = 2")
                with pytest.raises(LogWentBack, match="at position 2"):
                    await continuity.until_broken()
            with pytest.raises(LogWentBack):
                await store.append("run:1", 2, new_events("third"))

    run(scenario())

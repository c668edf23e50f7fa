"""A process notices when the log does not continue what it has seen of it, and writes nothing more."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import LiteralString

import psycopg
import pytest

from application.operations.consumer_control import ProcessManagerControl, ProjectionControl
from application.ports.event_store import LogWentBack
from application.process_managers.table import PROCESS_MANAGERS, outcomes_of, wire_names
from infrastructure.postgres.connections import open_pool
from infrastructure.postgres.continuity import LogContinuity
from infrastructure.postgres.event_store.errors import EventStoreUnavailable
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from infrastructure.postgres.listener import PositionSignal, PostgresListener
from infrastructure.postgres.process_managers.runner import ProcessManagerRunner
from infrastructure.postgres.projector.projector import Projector
from infrastructure.postgres.search.indexer import EventIndexer
from infrastructure.streams.hub import StreamHub
from infrastructure.system_clock import now
from projections.catalogue import PROJECTIONS
from tests.support.async_run import run
from tests.support.backends import kill_backends
from tests.support.log_events import new_events
from tests.support.process_managers import commands, rows

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


async def followed(dsn: str, consumer: str, store: GroupCommitEventStore, continuity: LogContinuity) -> None:
    """Run one of those that keep a checkpoint; it believes that the log ends at position 50."""
    end = PositionSignal()
    end.advance(50)
    match consumer:
        case "process managers":
            await ProcessManagerRunner(
                dsn=dsn,
                store=store,
                position=end,
                outcomes_of=outcomes_of,
                managers={name: wire_names(name) for name in PROCESS_MANAGERS},
                control=ProcessManagerControl(store=store, clock=now),
                commands=commands(store),
                continuity=continuity,
            ).run()
        case "projections":
            control = ProjectionControl(store=store, clock=now, names=[each.name for each in PROJECTIONS])
            await Projector(dsn, control=control, end_of_log=end, continuity=continuity).run()
        case _:
            await EventIndexer(dsn, end, continuity).run()


@pytest.mark.parametrize(
    ("consumer", "checkpoints"),
    [
        ("process managers", "SELECT position FROM process_manager_checkpoint"),
        ("projections", "SELECT position FROM projection_versions"),
        ("index of the log", "SELECT position FROM event_index_checkpoint"),
    ],
)
def test_nothing_that_follows_the_log_moves_its_checkpoint_in_another_one(
    database: str, consumer: str, checkpoints: LiteralString
) -> None:
    async def scenario() -> None:
        continuity = LogContinuity()
        async with GroupCommitEventStore(database, continuity=continuity) as store:
            await store.append("run:1", 0, new_events("first", "second"))
            await asyncio.to_thread(fail_over, database)
            before = await rows(database, checkpoints)
            async with asyncio.timeout(60):
                with pytest.raises(LogWentBack):
                    await followed(database, consumer, store, continuity)
            assert await rows(database, checkpoints) == before

    run(scenario())


def test_a_pool_writes_nothing_into_another_log(database: str) -> None:
    async def scenario() -> None:
        continuity = LogContinuity()
        async with (
            GroupCommitEventStore(database, continuity=continuity) as store,
            await open_pool(database, continuity, size=1) as pool,
        ):
            async with pool.connection() as connection:
                await connection.execute("DELETE FROM idempotency_keys")
            await store.append("run:1", 0, new_events("first", "second"))
            await asyncio.to_thread(fail_over, database)
            async with pool.connection() as connection:
                await connection.execute("SELECT * FROM idempotency_keys")
                with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                    await connection.execute("DELETE FROM idempotency_keys")
            assert "at position 2" in continuity.broken

    run(scenario())

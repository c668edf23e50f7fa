"""A connection that dies leaves nobody guessing: the log itself says what was written."""

import asyncio

import psycopg
import pytest
from eventsourcing.persistence import StoredEvent, Tracking

from application.ports.event_store import AppendResult, ExpectedSeqConflict
from infrastructure.eventsourcing_library.factory import FleetlogFactory
from infrastructure.postgres.event_store.errors import EventStoreUnavailable
from infrastructure.postgres.event_store.group_commit import GroupCommit
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from tests.support.backends import kill_backends
from tests.support.hash_chain import broken_links
from tests.support.log_events import new_event, new_events
from tests.support.severing_proxy import Loss, SeveringProxy


@pytest.mark.parametrize("loss", ["answer", "end", "request"])
def test_an_append_whose_acknowledgement_or_request_is_lost_is_written_once(database: str, loss: Loss) -> None:
    async def run() -> None:
        async with SeveringProxy(database) as proxy, GroupCommitEventStore(proxy.dsn) as store:
            await store.append("run:1", 0, new_events("first"))
            proxy.lose = loss
            result = await store.append("run:1", 1, new_events("second", "third"))
            assert proxy.lost == 1
            assert result == AppendResult(positions=(2, 3), last_seq=3, duplicate=False)
            assert [event.seq for event in await store.read_stream("run:1")] == [1, 2, 3]

    asyncio.run(run())
    assert broken_links(database) == []


@pytest.mark.parametrize("loss", ["answer", "end", "request"])
def test_conflicts_and_duplicates_keep_their_meaning_through_a_lost_acknowledgement(database: str, loss: Loss) -> None:
    async def run() -> None:
        async with SeveringProxy(database) as proxy, GroupCommitEventStore(proxy.dsn) as store:
            known = new_event("known")
            await store.append("run:1", 0, [known])
            proxy.lose = loss
            written, conflict, duplicate = await asyncio.gather(
                store.append("run:1", 1, new_events("new")),
                store.append("run:1", 0, new_events("stale")),
                store.append("run:1", 5, [known]),
                return_exceptions=True,
            )
            assert proxy.lost == 1
            assert written == AppendResult(positions=(2,), last_seq=2)
            assert isinstance(conflict, ExpectedSeqConflict)
            assert duplicate == AppendResult(positions=(1,), last_seq=1, duplicate=True)

    asyncio.run(run())


@pytest.mark.parametrize("loss", ["answer", "end", "request"])
def test_the_librarys_recorder_keeps_the_same_promise_with_tracking(database: str, loss: Loss) -> None:
    async def run() -> None:
        async with SeveringProxy(database) as proxy:
            factory = FleetlogFactory({"DATABASE_URL": proxy.dsn})
            recorder = factory.process_recorder()
            first = [StoredEvent("a", 1, "topic", b"{}")]
            assert await asyncio.to_thread(recorder.insert_events, first, tracking=Tracking("upstream", 1)) == [1]
            second = [StoredEvent("a", 2, "topic", b"{}"), StoredEvent("b", 1, "topic", b"{}")]
            proxy.lose = loss
            assert await asyncio.to_thread(recorder.insert_events, second, tracking=Tracking("upstream", 2)) == [2, 3]
            assert proxy.lost == 1
            assert await asyncio.to_thread(recorder.max_tracking_id, "upstream") == 2
            proxy.lose = loss
            assert await asyncio.to_thread(recorder.insert_events, [StoredEvent("b", 2, "topic", b"{}")]) == [4]
            assert proxy.lost == 2
            await asyncio.to_thread(factory.close)

    asyncio.run(run())
    assert broken_links(database) == []


def test_a_killed_backend_is_replaced_without_the_caller_noticing(database: str) -> None:
    async def run() -> None:
        async with GroupCommitEventStore(database) as store:
            for seq in range(5):
                assert (await store.append("run:1", seq, new_events("x"))).positions == (seq + 1,)
                await asyncio.to_thread(kill_backends, database)

    asyncio.run(run())


def test_a_database_that_stays_away_fails_the_append_within_the_time_limit(database: str) -> None:
    nowhere = psycopg.conninfo.make_conninfo(database, host="/nonexistent")

    async def run() -> None:
        commits = GroupCommit(nowhere, tenant="default", retry_seconds=0.2)
        async with GroupCommitEventStore(database) as store:
            store._commits = commits
            with pytest.raises(EventStoreUnavailable, match="could not be written"):
                await store.append("run:1", 0, new_events("x"))

    asyncio.run(run())

"""A queue that is full makes its callers wait; it never grows."""

import asyncio
import threading

import pytest
from eventsourcing.persistence import StoredEvent

from infrastructure.eventsourcing_library.factory import FleetlogFactory
from infrastructure.postgres.connections import connect_thread
from infrastructure.postgres.event_store import group_commit
from infrastructure.postgres.event_store.errors import EventStoreClosed
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from tests.support.backends import until_one_waits_for_the_log
from tests.support.log_events import new_events

HOLD_THE_LOG = "SELECT pg_advisory_xact_lock(log_lock())"


def test_callers_wait_for_room_in_the_queue(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "MAX_QUEUED_REQUESTS", 4)

    async def run() -> None:
        async with GroupCommitEventStore(database) as store:
            with connect_thread(database) as holder, holder.transaction():
                holder.execute(HOLD_THE_LOG)
                appends = [asyncio.create_task(store.append(f"run:{n}", 0, new_events("x"))) for n in range(20)]
                await asyncio.sleep(0)
                assert len(store._commits._queue) == 4
                assert len(store._commits._blocked) == 15
            results = await asyncio.gather(*appends)
            assert sorted(result.position for result in results) == list(range(1, 21))

    asyncio.run(run())


def test_bytes_fill_the_queue_too(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "MAX_QUEUED_BYTES", 250_000)

    async def run() -> None:
        async with GroupCommitEventStore(database) as store:
            with connect_thread(database) as holder, holder.transaction():
                holder.execute(HOLD_THE_LOG)
                large = [asyncio.create_task(store.append(f"run:{n}", 0, new_events("x" * 100_000))) for n in range(10)]
                await asyncio.sleep(0)
                assert len(store._commits._queue) == 2
            await asyncio.gather(*large)
            assert await store.last_position() == 10

    asyncio.run(run())


def test_a_caller_that_is_cancelled_while_it_waits_is_not_written(database: str) -> None:
    async def run() -> None:
        async with GroupCommitEventStore(database) as store:
            with connect_thread(database) as holder, holder.transaction():
                holder.execute(HOLD_THE_LOG)
                first, second, third = [
                    asyncio.create_task(store.append(f"run:{n}", 0, new_events("x"))) for n in range(3)
                ]
                await asyncio.sleep(0)
                second.cancel()
                await asyncio.sleep(0)
            assert [(await first).position, (await third).position] == [1, 2]
            with pytest.raises(asyncio.CancelledError):
                await second
            assert await store.read_stream("run:1") == []

    asyncio.run(run())


def test_a_lone_caller_that_is_cancelled_in_its_commit_leaves_the_store_in_order(database: str) -> None:
    async def run() -> None:
        async with GroupCommitEventStore(database) as store:
            await store.append("run:0", 0, new_events("x"))
            with connect_thread(database) as holder, holder.transaction():
                holder.execute(HOLD_THE_LOG)
                lone = asyncio.create_task(store.append("run:1", 0, new_events("x")))
                await until_one_waits_for_the_log(database)
                behind = asyncio.create_task(store.append("run:2", 0, new_events("x")))
                await asyncio.sleep(0)
                lone.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await lone
            assert (await behind).last_seq == 1
            assert (await store.append("run:0", 1, new_events("y"))).last_seq == 2

    asyncio.run(run())


def test_a_closing_store_refuses_those_who_still_wait_for_room(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "MAX_QUEUED_REQUESTS", 1)

    async def run() -> None:
        store = await GroupCommitEventStore.open(database)
        with connect_thread(database) as holder, holder.transaction():
            holder.execute(HOLD_THE_LOG)
            appends = [asyncio.create_task(store.append(f"run:{n}", 0, new_events("x"))) for n in range(4)]
            await asyncio.sleep(0)
            closing = asyncio.create_task(store.close())
            await asyncio.sleep(0)
        await closing
        outcomes = await asyncio.gather(*appends, return_exceptions=True)
        assert [getattr(outcome, "position", None) for outcome in outcomes[:2]] == [1, 2]
        assert all(isinstance(outcome, EventStoreClosed) for outcome in outcomes[2:])

    asyncio.run(run())


def test_threads_share_commits_while_one_of_them_leads(database: str) -> None:
    factory = FleetlogFactory({"DATABASE_URL": database})
    recorder = factory.application_recorder()
    positions: list[int] = []

    def insert(number: int) -> None:
        positions.extend(recorder.insert_events([StoredEvent(f"s{number}", 1, "topic", b"{}")]) or [])

    threads = [threading.Thread(target=insert, args=(number,)) for number in range(30)]
    with connect_thread(database) as holder, holder.transaction():
        holder.execute(HOLD_THE_LOG)
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert sorted(positions) == list(range(1, 31))
    with connect_thread(database) as connection:
        commits = connection.execute("SELECT count(DISTINCT recorded_at) FROM events").fetchone()
    assert commits is not None
    assert commits[0] <= 15
    factory.close()

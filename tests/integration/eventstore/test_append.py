"""What the EventStore port promises about appending."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from application.ports.event_store import AppendResult, ExpectedSeqConflict
from domain.event import MAX_PAYLOAD_BYTES
from domain.record import NewEvent
from infrastructure.postgres.event_store.errors import AppendRefused, EventStoreClosed
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from tests.support.log_events import Noted, new_event, new_events

pytestmark = pytest.mark.every_postgres


def with_store(dsn: str, scenario: Callable[[GroupCommitEventStore], Awaitable[None]]) -> None:
    async def run() -> None:
        async with GroupCommitEventStore(dsn) as store, asyncio.timeout(180):
            await scenario(store)

    asyncio.run(run())


def test_an_append_to_a_new_stream_starts_at_seq_1_and_is_read_back(database: str) -> None:
    async def scenario(store: GroupCommitEventStore) -> None:
        events = new_events("one", "two")
        result = await store.append("run:1", 0, events)
        assert result == AppendResult(positions=(1, 2), last_seq=2)
        read = await store.read_stream("run:1")
        assert [(e.position, e.seq, e.event_id) for e in read] == [
            (1, 1, events[0].event_id),
            (2, 2, events[1].event_id),
        ]
        assert [e.event for e in read] == [Noted(text="one"), Noted(text="two")]
        assert read[0].occurred_at == events[0].occurred_at
        assert read[0].metadata == events[0].metadata
        assert await store.last_position() == 2

    with_store(database, scenario)


def test_a_stale_expected_seq_is_a_conflict_and_writes_nothing(database: str) -> None:
    async def scenario(store: GroupCommitEventStore) -> None:
        await store.append("run:1", 0, new_events("one"))
        with pytest.raises(ExpectedSeqConflict) as conflict:
            await store.append("run:1", 0, new_events("other"))
        assert (conflict.value.stream, conflict.value.expected, conflict.value.actual) == ("run:1", 0, 1)
        with pytest.raises(ExpectedSeqConflict):
            await store.append("run:1", 2, new_events("other"))
        assert await store.last_position() == 1

    with_store(database, scenario)


def test_the_same_event_ids_again_are_a_duplicate_whatever_the_expected_seq(database: str) -> None:
    async def scenario(store: GroupCommitEventStore) -> None:
        events = new_events("one", "two")
        first = await store.append("run:1", 0, events)
        await store.append("run:2", 0, new_events("else"))
        await store.append("run:1", 2, new_events("three"))
        for expected in (0, 3, 17):
            again = await store.append("run:1", expected, events)
            assert again == AppendResult(positions=first.positions, last_seq=2, duplicate=True)
        assert await store.last_position() == 4

    with_store(database, scenario)


def test_some_known_event_ids_beside_new_ones_are_a_conflict(database: str) -> None:
    async def scenario(store: GroupCommitEventStore) -> None:
        known = new_event("one")
        await store.append("run:1", 0, [known])
        with pytest.raises(ExpectedSeqConflict):
            await store.append("run:1", 1, [known, new_event("two")])
        assert await store.last_position() == 1

    with_store(database, scenario)


def test_the_same_event_id_in_another_stream_is_another_event(database: str) -> None:
    async def scenario(store: GroupCommitEventStore) -> None:
        event = new_event("one")
        await store.append("run:1", 0, [event])
        assert not (await store.append("run:2", 0, [event])).duplicate
        found = await store.find_event("run:2", event.event_id)
        assert found is not None
        assert (found.position, found.stream) == (2, "run:2")
        assert await store.find_event("run:3", event.event_id) is None

    with_store(database, scenario)


def test_in_a_shared_commit_conflicts_and_duplicates_fail_their_own_caller_alone(database: str) -> None:
    async def scenario(store: GroupCommitEventStore) -> None:
        known = new_event("known")
        await store.append("run:1", 0, [known])

        async def append(stream: str, expected: int, events: list[NewEvent]) -> AppendResult | ExpectedSeqConflict:
            try:
                return await store.append(stream, expected, events)
            except ExpectedSeqConflict as conflict:
                return conflict

        written, conflict, duplicate, follower, other = await asyncio.gather(
            append("run:1", 1, new_events("a", "b")),
            append("run:1", 1, new_events("c")),
            append("run:1", 1, [known]),
            append("run:1", 3, new_events("d")),
            append("run:2", 0, new_events("e")),
        )
        assert written == AppendResult(positions=(2, 3), last_seq=3)
        assert isinstance(conflict, ExpectedSeqConflict)
        assert conflict.actual == 3
        assert duplicate == AppendResult(positions=(1,), last_seq=1, duplicate=True)
        assert follower == AppendResult(positions=(4,), last_seq=4)
        assert other == AppendResult(positions=(5,), last_seq=1)

    with_store(database, scenario)


def test_one_event_id_appended_twice_at_once_is_written_once(database: str) -> None:
    async def scenario(store: GroupCommitEventStore) -> None:
        event = new_event("once")
        results = await asyncio.gather(*[store.append("run:1", 0, [event]) for _ in range(5)])
        assert sorted(result.duplicate for result in results) == [False, True, True, True, True]
        assert {result.positions for result in results} == {(1,)}

    with_store(database, scenario)


def test_a_payload_over_the_limit_is_refused_with_its_size_and_harms_nobody(database: str) -> None:
    async def scenario(store: GroupCommitEventStore) -> None:
        with pytest.raises(AppendRefused, match=r"262,1\d\d bytes; the log takes 262,144"):
            await store.append("run:1", 0, new_events("x" * MAX_PAYLOAD_BYTES))
        await store.append("run:1", 0, new_events("x" * (MAX_PAYLOAD_BYTES - 100)))

    with_store(database, scenario)


def test_what_the_log_cannot_store_is_refused_before_it_is_queued(database: str) -> None:
    async def scenario(store: GroupCommitEventStore) -> None:
        event = new_event("one")
        for stream, expected, events in (
            ("run:1", 0, []),
            ("run:1", -1, [event]),
            ("", 0, [event]),
            ("run:\0", 0, [event]),
            ("r" * 513, 0, [event]),
            ("run:1", 0, [event, event]),
            ("run:1", 0, [new_event(event_id="e" * 513)]),
        ):
            with pytest.raises(AppendRefused):
                await store.append(stream, expected, events)

    with_store(database, scenario)


def test_closing_writes_what_is_queued_and_refuses_what_comes_after(database: str) -> None:
    async def run() -> None:
        store = await GroupCommitEventStore.open(database)
        appends = [asyncio.create_task(store.append(f"run:{n}", 0, new_events("x"))) for n in range(100)]
        await asyncio.sleep(0)
        await store.close()
        assert sorted(result.position for result in await asyncio.gather(*appends)) == list(range(1, 101))
        with pytest.raises(EventStoreClosed):
            await store.append("run:late", 0, new_events("x"))

    asyncio.run(run())


def test_reading_is_bounded_by_seq_position_limit_and_type(database: str) -> None:
    async def scenario(store: GroupCommitEventStore) -> None:
        await store.append("run:1", 0, new_events(*"abcdef"))
        assert [e.seq for e in await store.read_stream("run:1", after_seq=1, up_to_seq=4)] == [2, 3, 4]
        assert [e.seq for e in await store.read_stream("run:1", limit=2)] == [1, 2]
        assert [e.position for e in await store.read_all(after=3, limit=2)] == [4, 5]
        assert [e.position for e in await store.read_all(types=["test.noted"], after=4)] == [5, 6]
        assert await store.read_all(types=["test.counted"]) == []
        raw = (await store.read_stream_raw("run:1", limit=1))[0]
        assert (raw.type, raw.schema_version, raw.payload) == ("test.noted", 1, b'{"text":"a"}')
        assert raw.metadata == b'{"actor":"tester","correlationId":"correlation-1"}'

    with_store(database, scenario)

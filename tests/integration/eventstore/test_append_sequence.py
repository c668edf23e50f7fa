"""Appends in turn: what calls of `append` one after the other would do, in one commit."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from application.ports.event_store import Append, AppendResult, ExpectedSeqConflict
from domain.record import NewEvent
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from tests.support.async_run import run
from tests.support.hash_chain import broken_links
from tests.support.log_events import new_event, new_events

pytestmark = pytest.mark.every_postgres

Scenario = Callable[[GroupCommitEventStore], Awaitable[None]]


def with_store(dsn: str, scenario: Scenario) -> None:
    async def bounded() -> None:
        async with GroupCommitEventStore(dsn) as store:
            await scenario(store)

    run(bounded())


def turn(stream: str, expected_seq: int, *texts: str) -> Append:
    return Append(stream=stream, expected_seq=expected_seq, events=new_events(*texts))


async def texts(store: GroupCommitEventStore) -> list[tuple[str, int, str]]:
    return [(one.stream, one.seq, one.event.text) for one in await store.read_all()]  # type: ignore[attr-defined]


def test_each_is_written_after_the_one_before_it(database: str) -> None:
    async def scenario(store: GroupCommitEventStore) -> None:
        done = await store.append_sequence([turn("a", 0, "1"), turn("b", 0, "2", "3"), turn("a", 1, "4")])

        assert done == [
            AppendResult(positions=(1,), last_seq=1),
            AppendResult(positions=(2, 3), last_seq=2),
            AppendResult(positions=(4,), last_seq=2),
        ]
        assert await texts(store) == [("a", 1, "1"), ("b", 1, "2"), ("b", 2, "3"), ("a", 2, "4")]

    with_store(database, scenario)


@pytest.mark.parametrize("size", [1, 2])
def test_one_that_loses_its_race_keeps_those_behind_it_from_being_written(database: str, size: int) -> None:
    async def scenario(store: GroupCommitEventStore) -> None:
        await store.append("b", 0, new_events("first"))
        steps = [turn("a", 0, "1"), turn("b", 0, *"23"[:size]), turn("c", 0, "4"), turn("d", 0, "5")]

        written, refused = await store.append_sequence(steps)

        assert isinstance(written, AppendResult)
        assert isinstance(refused, ExpectedSeqConflict)
        assert (refused.stream, refused.actual) == ("b", 1)
        assert await texts(store) == [("b", 1, "first"), ("a", 1, "1")]

    with_store(database, scenario)


def test_what_the_log_has_already_ends_them_too(database: str) -> None:
    async def scenario(store: GroupCommitEventStore) -> None:
        known: list[NewEvent] = [new_event("known")]
        await store.append("a", 0, known)

        done = await store.append_sequence([Append(stream="a", expected_seq=0, events=known), turn("b", 0, "2")])

        assert done == [AppendResult(positions=(1,), last_seq=1, duplicate=True)]
        assert await texts(store) == [("a", 1, "known")]

    with_store(database, scenario)


def test_those_of_many_callers_share_commits_and_disturb_nobody(database: str) -> None:
    async def scenario(store: GroupCommitEventStore) -> None:
        await store.append("taken", 0, new_events("first"))

        async def caller(number: int) -> int:
            middle = turn("taken" if number % 3 == 0 else f"b{number}", 0, "2")
            return len(
                await store.append_sequence([turn(f"a{number}", 0, "1"), middle, turn(f"a{number}", 1, "3", "4")])
            )

        async def other(number: int) -> int:
            return (await store.append(f"o{number}", 0, new_events("1"))).last_seq

        async with asyncio.TaskGroup() as group:
            callers = [group.create_task(caller(number)) for number in range(60)]
            others = [group.create_task(other(number)) for number in range(60)]

        assert [task.result() for task in callers] == [2 if number % 3 == 0 else 3 for number in range(60)]
        assert {task.result() for task in others} == {1}
        seqs = [await store.last_seq(f"a{number}") for number in range(60)]
        assert seqs == [1 if number % 3 == 0 else 3 for number in range(60)]
        assert await store.last_seq("taken") == 1

    with_store(database, scenario)
    assert broken_links(database) == []


def test_a_batch_that_is_split_keeps_the_turns(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infrastructure.postgres.event_store.group_commit.MAX_BATCH_EVENTS", 2)

    async def scenario(store: GroupCommitEventStore) -> None:
        await store.append("b", 0, new_events("first"))

        whole = await store.append_sequence([turn("a", 0, "1", "2"), turn("c", 0, "3"), turn("a", 2, "4", "5")])
        broken = await store.append_sequence([turn("d", 0, "1", "2"), turn("b", 0, "3", "4"), turn("e", 0, "5")])

        assert [type(one) for one in whole] == [AppendResult] * 3
        assert [isinstance(one, ExpectedSeqConflict) for one in broken] == [False, True]
        assert await store.last_seq("e") == 0

    with_store(database, scenario)

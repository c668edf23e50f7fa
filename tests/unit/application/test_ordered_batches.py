"""Work on one key: in the order in which it comes, what waits together in one batch, bounded, each caller with its own
error."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from application import ordered_batches
from application.ordered_batches import OrderedBatches
from domain.errors import Conflict, DomainError, InvalidInput
from tests.support.async_run import run


class Recorder:
    """Records batches once it may; an item of 0 is refused, one of -1 breaks its batch."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.may = asyncio.Event()

    async def __call__(self, key: str, items: Sequence[int]) -> Sequence[str | DomainError]:
        self.batches.append(list(items))
        await self.may.wait()
        if -1 in items:
            raise ValueError("an item that can't be written")
        return [InvalidInput("item", "is 0") if item == 0 else f"{key}{item}" for item in items]


def ordered(recorder: Recorder, **options: Any) -> OrderedBatches[int, str]:
    return OrderedBatches(recorder, size_of=lambda _: 1, **options)


async def soon() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_what_waits_for_a_key_shares_the_next_batch_in_order() -> None:
    async def scene() -> None:
        recorder = Recorder()
        batches = ordered(recorder)
        first = asyncio.create_task(batches.handle("a", [1]))
        await soon()
        others = [asyncio.create_task(batches.handle("a", [n, n + 1])) for n in (2, 4, 6)]
        another = asyncio.create_task(batches.handle("b", [9]))
        await soon()
        recorder.may.set()
        assert await first == ["a1"]
        assert await asyncio.gather(*others) == [["a2", "a3"], ["a4", "a5"], ["a6", "a7"]]
        assert await another == ["b9"]
        assert recorder.batches == [[1], [9], [2, 3, 4, 5, 6, 7]]
        assert batches._by_key == {}

    run(scene())


def test_a_long_request_is_split_and_gets_its_results_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordered_batches, "MAX_BATCH_ITEMS", 2)

    async def scene() -> None:
        recorder = Recorder()
        recorder.may.set()
        batches = ordered(recorder)
        both = await asyncio.gather(batches.handle("a", [1, 2, 3]), batches.handle("a", [4]))
        assert both == [["a1", "a2", "a3"], ["a4"]]
        assert recorder.batches == [[1, 2], [3, 4]]

    run(scene())


def test_a_batch_has_a_bound_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordered_batches, "MAX_BATCH_BYTES", 3)

    async def scene() -> None:
        recorder = Recorder()
        recorder.may.set()
        assert len(await ordered(recorder).handle("a", list(range(1, 8)))) == 7
        assert [len(batch) for batch in recorder.batches] == [3, 3, 1]

    run(scene())


def test_each_caller_gets_its_own_refusal() -> None:
    async def scene() -> None:
        recorder = Recorder()
        recorder.may.set()
        batches = ordered(recorder)
        wrong, broken, right = await asyncio.gather(
            batches.handle("a", [1, 0]), batches.handle("a", [-1]), batches.handle("a", [2]), return_exceptions=True
        )
        assert isinstance(wrong, InvalidInput)
        assert isinstance(broken, ValueError)
        assert right == ["a2"]

    run(scene())


def test_a_caller_that_goes_away_leaves_what_it_has_not_begun() -> None:
    async def scene() -> None:
        recorder = Recorder()
        batches = ordered(recorder)
        first = asyncio.create_task(batches.handle("a", [1]))
        await soon()
        gone = asyncio.create_task(batches.handle("a", [2]))
        await soon()
        gone.cancel()
        last = asyncio.create_task(batches.handle("a", [3]))
        await soon()
        recorder.may.set()
        assert await first == ["a1"]
        assert await last == ["a3"]
        assert recorder.batches == [[1], [3]]

    run(scene())


def test_who_finds_no_room_for_too_long_is_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordered_batches, "MAX_WAITING_ITEMS", 2)

    async def scene() -> None:
        recorder = Recorder()
        batches = ordered(recorder, max_wait_s=0.05)
        first = asyncio.create_task(batches.handle("a", [1]))
        await soon()
        waiting = asyncio.create_task(batches.handle("a", [2, 3]))
        await soon()
        with pytest.raises(Conflict) as raised:
            await batches.handle("a", [4])
        assert raised.value.reason == "too_busy"
        recorder.may.set()
        assert await first == ["a1"]
        assert await waiting == ["a2", "a3"]
        assert await batches.handle("a", [5]) == ["a5"]

    run(scene())


def test_only_so_many_wait_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordered_batches, "MAX_WAITING_ITEMS", 1)
    monkeypatch.setattr(ordered_batches, "MAX_TURNS", 2)

    async def scene() -> None:
        recorder = Recorder()
        batches = ordered(recorder)
        started = [asyncio.create_task(batches.handle("a", [1]))]
        await soon()
        started += [asyncio.create_task(batches.handle("a", [n])) for n in (2, 3, 4)]
        await soon()
        with pytest.raises(Conflict) as raised:
            await batches.handle("a", [5])
        assert raised.value.reason == "too_busy"
        recorder.may.set()
        assert await asyncio.gather(*started) == [[f"a{n}"] for n in (1, 2, 3, 4)]

    run(scene())

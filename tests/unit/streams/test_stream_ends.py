"""Waiting for the next event of a stream."""

import asyncio

from infrastructure.streams.stream_ends import StreamEnds
from tests.support.async_run import run


class Log:
    """Counts the questions that it is asked."""

    def __init__(self, last_seq: int = 0) -> None:
        self.last, self.asked = last_seq, 0

    async def last_seq(self, stream: str) -> int:
        self.asked += 1
        return self.last


def test_an_event_that_came_between_the_callers_read_and_its_wait_is_noticed() -> None:
    async def scenario() -> None:
        ends, log = StreamEnds(), Log()
        ends.advance({"a": 3})
        assert await ends.wait("a", 2, 60, log.last_seq)
        assert log.asked == 0

    run(scenario(), timeout=5)


def test_a_wait_ends_with_the_next_event_of_its_stream() -> None:
    async def scenario() -> None:
        ends, log = StreamEnds(), Log()
        ends.advance({"a": 3})
        waiting = asyncio.create_task(ends.wait("a", 3, 60, log.last_seq))
        await asyncio.sleep(0)
        ends.advance({"b": 1})
        await asyncio.sleep(0)
        assert not waiting.done()
        ends.advance({"a": 4})
        assert await waiting

    run(scenario(), timeout=5)


def test_a_caller_that_has_read_further_than_the_tail_is_not_woken_by_what_it_knows() -> None:
    async def scenario() -> None:
        ends, log = StreamEnds(), Log()
        waiting = asyncio.create_task(ends.wait("a", 5, 60, log.last_seq))
        await asyncio.sleep(0)
        ends.advance({"a": 5})
        await asyncio.sleep(0)
        assert not waiting.done()
        ends.advance({"a": 6})
        assert await waiting

    run(scenario(), timeout=5)


def test_a_wait_is_over_after_its_timeout_and_leaves_nothing_behind() -> None:
    async def scenario() -> None:
        ends, log = StreamEnds(), Log()
        assert not await ends.wait("a", 0, 0.01, log.last_seq)
        assert ends._waiting == {}
        assert log.asked == 0

    run(scenario(), timeout=5)


def test_the_log_is_asked_when_the_streams_end_may_just_have_been_forgotten() -> None:
    async def scenario() -> None:
        now = 1000.0
        ends = StreamEnds(max_streams=2, clock=lambda: now)
        ends.advance({"a": 7})
        ends.advance({"b": 1, "c": 1})
        log = Log(last_seq=7)
        assert await ends.wait("a", 6, 60, log.last_seq)
        assert log.asked == 1
        now += 61
        assert not await ends.wait("a", 7, 0.01, log.last_seq)
        assert log.asked == 1

    run(scenario(), timeout=5)


def test_thousands_wait_at_once() -> None:
    async def scenario() -> None:
        ends, log = StreamEnds(), Log()
        async with asyncio.TaskGroup() as group:
            waiting = [group.create_task(ends.wait(f"s{n % 500}", n // 500, 60, log.last_seq)) for n in range(5000)]
            await asyncio.sleep(0)
            ends.advance({f"s{n}": 10 for n in range(500)})
        assert all(task.result() for task in waiting)
        assert ends._waiting == {}

    run(scenario(), timeout=10)

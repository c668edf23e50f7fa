"""A run's journal, followed over a real connection."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from application.executor_protocol import JournalEntry
from application.ports.executor import ExecutorError
from infrastructure.executor_client.call_policy import CallPolicy
from infrastructure.executor_client.directory import HttpExecutorDirectory
from infrastructure.executor_client.http_executor import HttpExecutor
from infrastructure.executor_client.journal_stream import BATCH_ENTRIES
from tests.support.async_run import run
from tests.support.scripted_executor import Reply, ScriptedExecutor, scripted_executor

POLICY = CallPolicy(silence_s=0.3, max_retries=2, retry_delay_s=0.01, failures_to_open=100)


def line(n: int, kind: str = "message.delta") -> bytes:
    entry = {
        "n": n,
        "bootId": "b",
        "attempt": 1,
        "type": kind,
        "payload": {"text": "é" * n},
        "ts": "2026-01-01T00:00:00Z",
    }
    return json.dumps(entry).encode() + b"\n"


FINISHED = line(9, "run.agent_finished")


def with_executor(
    test: Callable[[ScriptedExecutor, HttpExecutor], Awaitable[Any]], policy: CallPolicy = POLICY
) -> ScriptedExecutor:
    async def scene() -> ScriptedExecutor:
        async with scripted_executor() as scripted, HttpExecutorDirectory(b"s", policy=policy) as directory:
            await test(scripted, directory.executor(session_id="s", generation=1, url=scripted.url))
            return scripted

    return run(scene())


async def collected(batches: AsyncIterator[list[JournalEntry]]) -> list[int]:
    return [entry.n async for batch in batches for entry in batch]


def test_it_ends_after_the_agents_end_and_asks_from_its_cursor() -> None:
    async def test(scripted: ScriptedExecutor, executor: HttpExecutor) -> None:
        scripted.default = Reply(chunks=(line(8), FINISHED))
        assert await collected(executor.follow("r/1", 7)) == [8, 9]

    request = with_executor(test).requests[0]
    assert request.path == "/provider-runs/r%2F1/stream?cursor=7"
    assert request.headers["x-trace-run-id"] == "r/1"


def test_all_lines_at_hand_come_as_one_batch() -> None:
    async def test(scripted: ScriptedExecutor, executor: HttpExecutor) -> None:
        gate = asyncio.Semaphore(0)
        scripted.default = Reply(
            chunks=(line(1) + line(2) + line(3) + line(4)[:20], line(4)[20:] + FINISHED), gate=gate
        )
        sizes = []
        async for batch in executor.follow("r", 0):
            sizes.append([entry.n for entry in batch])
            gate.release()
        assert sizes == [[1, 2, 3], [4, 9]]

    with_executor(test)


def test_entries_arrive_while_the_run_goes_on() -> None:
    async def test(scripted: ScriptedExecutor, executor: HttpExecutor) -> None:
        gate = asyncio.Semaphore(0)
        scripted.default = Reply(chunks=(line(1), b"\n", FINISHED), gate=gate)
        journal = executor.follow("r", 0)
        assert [entry.n for entry in await anext(journal)] == [1]
        gate.release()
        gate.release()
        assert await collected(journal) == [9]

    with_executor(test, replace(POLICY, silence_s=5))


@pytest.mark.parametrize("cut", [True, False], ids=["connection cut", "ended without the agent's end"])
def test_an_early_end_is_an_error_after_what_came(cut: bool) -> None:
    async def test(scripted: ScriptedExecutor, executor: HttpExecutor) -> None:
        scripted.default = Reply(chunks=(line(1), line(2) + line(3)[:10]), cut=cut)
        journal = executor.follow("r", 0)
        seen: list[int] = []
        while 2 not in seen:
            seen += [entry.n for entry in await anext(journal)]
        assert seen == [1, 2]
        with pytest.raises(ExecutorError) as raised:
            await anext(journal)
        assert (raised.value.kind, raised.value.reason, raised.value.status) == ("network", "stream_cut", None)

    assert len(with_executor(test).requests) == 1


def test_silence_without_heartbeat_is_a_timeout() -> None:
    async def test(scripted: ScriptedExecutor, executor: HttpExecutor) -> None:
        scripted.default = Reply(chunks=(line(1), FINISHED), gate=asyncio.Semaphore(0))
        with pytest.raises(ExecutorError) as raised:
            await collected(executor.follow("r", 0))
        assert raised.value.kind == "timeout"

    with_executor(test)


def test_heartbeats_keep_it_alive() -> None:
    async def test(scripted: ScriptedExecutor, executor: HttpExecutor) -> None:
        gate = asyncio.Semaphore(0)
        scripted.default = Reply(chunks=(b"\n",) * 8 + (FINISHED,), gate=gate)

        async def beat() -> None:
            while True:
                await asyncio.sleep(0.1)
                gate.release()

        heart = asyncio.create_task(beat())
        assert await collected(executor.follow("r", 0)) == [9]
        heart.cancel()

    with_executor(test)


def test_only_what_happens_before_the_answer_is_repeated() -> None:
    async def test(scripted: ScriptedExecutor, executor: HttpExecutor) -> None:
        scripted.replies.extend([Reply(status=503), Reply(cut=True), Reply(chunks=(FINISHED,))])
        assert await collected(executor.follow("r", 0)) == [9]

    assert len(with_executor(test).requests) == 3


def test_an_unknown_run_is_refused() -> None:
    async def test(scripted: ScriptedExecutor, executor: HttpExecutor) -> None:
        scripted.default = Reply(status=404, body={"reason": "unknown_run", "error": "no run r"})
        with pytest.raises(ExecutorError) as raised:
            await collected(executor.follow("r", 0))
        assert (raised.value.status, raised.value.reason) == (404, "unknown_run")

    with_executor(test)


def test_a_batch_is_no_larger_than_what_is_recorded_at_once() -> None:
    async def test(scripted: ScriptedExecutor, executor: HttpExecutor) -> None:
        many = b"".join(line(1) for _ in range(2 * BATCH_ENTRIES + 5))
        scripted.default = Reply(chunks=(many, FINISHED))
        sizes = [len(batch) async for batch in executor.follow("r", 0)]
        assert max(sizes) <= BATCH_ENTRIES
        assert sum(sizes) == 2 * BATCH_ENTRIES + 6

    with_executor(test)


DEEP = b'{"n": 1, "bootId": "b", "attempt": 1, "type": "t", "ts": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n"


@pytest.mark.parametrize("garbage", [b"no json\n", DEEP, b'{"n": "one"}\n', b"x" * (1024 * 1024 + 1)])
def test_garbage_ends_it_with_an_error(garbage: bytes) -> None:
    async def test(scripted: ScriptedExecutor, executor: HttpExecutor) -> None:
        scripted.default = Reply(chunks=(garbage, FINISHED))
        with pytest.raises(ExecutorError) as raised:
            await collected(executor.follow("r", 0))
        assert raised.value.reason == "stream_garbled"

    with_executor(test)


def test_whoever_stops_following_closes_the_connection() -> None:
    async def test(scripted: ScriptedExecutor, executor: HttpExecutor) -> None:
        scripted.default = Reply(chunks=(line(1), FINISHED), gate=asyncio.Semaphore(0))
        journal = cast("Any", executor.follow("r", 0))
        assert [entry.n for entry in await anext(journal)] == [1]
        await journal.aclose()
        await asyncio.wait_for(scripted.closed_by_peer.wait(), 5)

    with_executor(test, replace(POLICY, silence_s=30))

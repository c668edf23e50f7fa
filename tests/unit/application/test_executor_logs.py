"""The log lines of executors on their way to a collector: one that fails, or has many, keeps nobody else waiting."""

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, cast

import msgspec

from application.executor_protocol import LogLines
from application.ports.worker_runtime import OwnContainer
from application.sessions.executor_logs import ForwardExecutorLogs
from application.sessions.session_workers import SessionWorkers
from application.task_cancellation import cancel_and_wait
from tests.support.executor_in_memory import executor_error


class Executor:
    def __init__(self, answer: LogLines | Exception) -> None:
        self._answer = answer

    async def take_log(self) -> LogLines:
        if isinstance(self._answer, Exception):
            raise self._answer
        answer, self._answer = self._answer, LogLines()
        return answer


class Workers:
    """Session workers whose executors have these lines, or fail like this; each has a container that runs."""

    def __init__(self, answers: Mapping[str, LogLines | Exception]) -> None:
        self._executors = {session_id: Executor(answer) for session_id, answer in answers.items()}
        self.runtime = self

    async def own_containers(self) -> list[OwnContainer]:
        return [
            OwnContainer(
                container_id=each, session_id=each, generation=1, status="running", created_at=datetime.now(UTC)
            )
            for each in self._executors
        ]

    async def recent(self, session_id: str) -> str:
        return session_id

    def executor(self, worker: str) -> Executor:
        return self._executors[worker]


def lines(*messages: str) -> LogLines:
    return LogLines(lines=tuple(msgspec.Raw(msgspec.json.encode({"message": each})) for each in messages))


async def forwarded(workers: Workers, write: Callable[[bytes, str], None], done: asyncio.Event) -> None:
    forward = ForwardExecutorLogs(cast("SessionWorkers", workers), write, interval_s=0.001)
    task = asyncio.create_task(forward.run())
    async with asyncio.timeout(60):
        await done.wait()
    await cancel_and_wait([task])


def test_an_executor_that_fails_in_whatever_way_keeps_no_lines_of_others() -> None:
    async def scene() -> list[tuple[Any, str]]:
        written, done = list[tuple[Any, str]](), asyncio.Event()

        def write(line: bytes, session_id: str) -> None:
            written.append((msgspec.json.decode(line)["message"], session_id))
            if len(written) == 3:
                done.set()

        failing: dict[str, LogLines | Exception] = {"a": RuntimeError("a bug"), "c": executor_error()}
        await forwarded(Workers(failing | {"b": lines("1", "2"), "d": lines("3")}), write, done)
        return written

    assert sorted(asyncio.run(scene())) == [("1", "b"), ("2", "b"), ("3", "d")]


def test_while_many_lines_are_passed_on_others_have_their_turns() -> None:
    async def scene() -> list[str]:
        order, done = list[str](), asyncio.Event()

        def write(_line: bytes, _session_id: str) -> None:
            if not order:
                asyncio.get_running_loop().call_soon(order.append, "another")
            order.append("line")
            time.sleep(0.002)  # the work of a line
            if order.count("line") == 20:
                done.set()

        await forwarded(Workers({"a": lines(*["x"] * 20)}), write, done)
        return order

    assert asyncio.run(scene()).index("another") < 20

"""Runs with an empty script, in one process with all its background tasks. Arguments: DSN RUNS CONCURRENCY RATE. RATE:
runs queued per second, 0 for as many as possible. Prints seconds and the latencies of starts.

The time is measured from the queueing of the first run until every run has its run.finished in the log and has left
the queue, and read models, search index and process managers have processed the last of these events."""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import uvloop
from _stub_executor import StubDirectory, StubProviders, StubRuntime, opened

from application.command_context import CommandContext
from domain.run.values import Message, RunSpec
from domain.session.commands import ActivateSession
from infrastructure.object_store.location import S3Location
from infrastructure.postgres.migrations import migrate
from interfaces.bootstrap import control_plane as composition
from interfaces.bootstrap.background_tasks import background_tasks
from interfaces.bootstrap.backing import BackingServices
from interfaces.bootstrap.control_plane import ControlPlane
from interfaces.settings_reading import load_settings

NOWHERE = S3Location(endpoint="http://stub", bucket="b", region="r", access_key="a", secret_key="s")
SESSIONS = 64
DEQUEUED = "SELECT count(*) FROM run_queue WHERE state = 'done'"
FINISHED = "SELECT max(position) FROM events WHERE type = 'run.finished' HAVING count(*) = %(runs)s"
FAILED = "SELECT count(*) FROM read_models.runs WHERE state <> 'succeeded'"
BEHIND = """
SELECT least((SELECT min(position) FROM projection_versions WHERE state = 'active'),
             (SELECT position FROM event_index_checkpoint),
             (SELECT min(position) FROM process_manager_checkpoint))
"""


class Measured(msgspec.Struct, frozen=True):
    """`starts`: milliseconds from a run's claim to its agent's start."""

    seconds: float
    finished: float
    starts: Sequence[float]


def context(command_id: str) -> CommandContext:
    return CommandContext(actor="bench", command_id=command_id, correlation_id=command_id)


def spec(number: int) -> RunSpec:
    return RunSpec(
        session_id=f"s{number % SESSIONS}",
        user_login_name="bench",
        provider="scripted",
        messages=(Message(role="user", content=":"),),
    )


def _stub_runtime(*_: object) -> tuple[StubRuntime, StubProviders]:
    return StubRuntime(), StubProviders()


@asynccontextmanager
async def stubbed(
    dsn: str, directory: StubDirectory, *, concurrency: int, **more_settings: str
) -> AsyncIterator[ControlPlane]:
    """One process with all its background tasks, on an empty database; its runtime and its executors do nothing."""
    await migrate(dsn)
    composition.worker_runtime = _stub_runtime  # type: ignore[assignment, attr-defined]
    composition._directory = lambda *_: opened(directory)  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as home:
        environment = {"FLEETLOG_HOME": str(Path(home)), "MAX_RUNS_PER_PROCESS": str(concurrency)}
        backing = BackingServices(
            settings=load_settings(environment | more_settings),
            dsn=dsn,
            object_store=NOWHERE,
            installation="bench",
            secret=b"bench",
        )
        async with composition.control_plane(backing) as plane:
            tasks = [asyncio.create_task(work) for work in background_tasks(plane).values()]
            try:
                yield plane
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks, timeout=10)


async def measure(dsn: str, runs: int, concurrency: int, rate: float) -> Measured:
    directory = StubDirectory(time.time)
    async with stubbed(dsn, directory, concurrency=concurrency) as plane:
        return await _worked(plane, directory, runs, rate)


async def _worked(plane: ControlPlane, directory: StubDirectory, runs: int, rate: float) -> Measured:
    for number in range(min(SESSIONS, runs)):
        await plane.session_commands.activate(
            ActivateSession(session_id=f"s{number}", app_id="default", project_name="default", user_login_name="bench"),
            context(f"activate/{number}"),
            wait_s=30,
        )
    slots = asyncio.Semaphore(16)

    async def queue(number: int) -> None:
        async with slots:
            await plane.run_commands.queue(f"r{number}", spec(number), context(f"queue/{number}"))

    loop = asyncio.get_running_loop()
    began = loop.time()
    queued = []
    for number in range(runs):
        if rate:
            await asyncio.sleep(began + number / rate - loop.time())
        queued.append(asyncio.create_task(queue(number)))
    await asyncio.gather(*queued)
    # The end is seen by polling on both sides.
    while await _number(plane, DEQUEUED) < runs:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    finished = loop.time() - began
    last = await _number(plane, FINISHED, runs)
    assert last, "not every run has a run.finished"
    while await _number(plane, BEHIND) < last:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    seconds = loop.time() - began
    failed = await _number(plane, FAILED)
    assert failed == 0, f"{failed} runs failed"
    return Measured(seconds, finished, await _starts(plane, directory))


async def _number(plane: ControlPlane, statement: str, runs: int = 0) -> int:
    async with plane.queue._pool.connection() as connection:
        row = await (await connection.execute(statement, {"runs": runs})).fetchone()
    return int(row[0]) if row else 0


async def _starts(plane: ControlPlane, directory: StubDirectory) -> list[float]:
    async with plane.queue._pool.connection() as connection:
        rows = await (
            await connection.execute("SELECT stream, occurred_at FROM events WHERE type = 'run.claimed'")
        ).fetchall()
    return [(directory.begun[stream.removeprefix("run:")] - at.timestamp()) * 1000 for stream, at in rows]


if __name__ == "__main__":
    measured = uvloop.run(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
    sys.stdout.write(msgspec.json.encode(measured).decode() + "\n")

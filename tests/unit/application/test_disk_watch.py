"""A container that has written too much: its run is ended for it, then it is synced and stopped."""

import asyncio

import pytest
from msgspec.structs import replace

from application.operations.disk_watch import DiskWatch
from application.ports.worker_runtime import OversizedContainer
from domain.run.events import RunFinished
from domain.session.events import DiskLimitExceeded, StopRequested
from tests.support.async_run import run
from tests.support.world_in_memory import World, until, world

TOO_LARGE = OversizedContainer(session_id="s", generation=1, used_bytes=30 << 20, limit_bytes=10 << 20)


def watch_of(made: World) -> DiskWatch:
    numbers = iter(range(1000))
    return DiskWatch(sessions=made.sessions, runs=made.runs, runtime=made.runtime, new_id=lambda: str(next(numbers)))


def test_its_run_fails_by_name_and_the_worker_is_stopped_after_its_sync() -> None:
    async def scene() -> World:
        async with world() as made:
            lease = await made.queued()
            executing = asyncio.create_task(made.executions.execute(lease, retry_delay=made.retry_delay))
            await made.executor(session_id="s").started("r")
            made.runtime.too_large = [TOO_LARGE]
            watch = watch_of(made)
            await watch.look()
            await watch.look()
            await executing
            await until(made.log, lambda: "session.stopped" in made.log.types("session:s"))
            return made

    made = run(scene())

    session = made.log.types("session:s")
    assert session.count("session.disk_limit_exceeded") == 1
    after = session[session.index("session.disk_limit_exceeded") :]
    wanted = ["session.run_detached", "session.stop_requested", "session.synced", "session.stopping", "session.stopped"]
    assert [kind for kind in after if kind in wanted][-5:] == wanted
    events = [recorded.event for recorded in made.log.events]
    (stop,) = [event for event in events if isinstance(event, StopRequested)]
    assert stop.reason == "disk_limit"
    (finished,) = [event for event in events if isinstance(event, RunFinished)]
    assert finished.outcome == "failed"
    assert finished.error is not None
    assert "has written 30 MiB, 10 MiB are allowed (WORKER_DISK_MB)" in finished.error.message


def test_a_worker_without_a_run_is_stopped_and_one_that_is_not_known_is_left_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scene() -> World:
        async with world() as made:
            lease = await made.queued()
            executing = asyncio.create_task(made.executions.execute(lease, retry_delay=made.retry_delay))
            await made.executor(session_id="s").started("r")
            await made.executor(session_id="s").end("r")
            await executing
            made.runtime.too_large = [TOO_LARGE, replace(TOO_LARGE, session_id="unknown")]
            await watch_of(made).look()
            await until(made.log, lambda: "session.stopped" in made.log.types("session:s"))
            return made

    made = run(scene())

    (exceeded,) = [each.event for each in made.log.events if isinstance(each.event, DiskLimitExceeded)]
    assert (exceeded.used_bytes, exceeded.attached_run_id) == (30 << 20, "")
    assert "session unknown has written too much, and can't be stopped" in caplog.text

"""Runs that wait for a worker's place, or for their session, hold nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from application.ports.run_queue import ParkedRun, RunLease
from application.runs import agent as run_agent
from application.runs.parked import LookAtParkedRuns
from domain.run.commands import ExceedQuota
from domain.run.events import RunClaimed, RunFinished, RunParked, RunRetryScheduled
from domain.session.commands import AttachRun, DetachRun, FailActivation, RecordContainerCreated
from domain.session.state import Container
from tests.support.async_run import run
from tests.support.parked_runs import QUIET_S, Scene, Trouble, cancel, nothing
from tests.support.world_in_memory import context, until, world


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_agent, "RECONNECT_DELAY_S", QUIET_S)


CREATED = RecordContainerCreated(generation=1, container=Container(container_id="s", runtime="memory", daemon_id="d"))


@asynccontextmanager
async def scene_without_place() -> AsyncIterator[Scene]:
    """A run whose session waits for a worker slot, parked in the log and in the queue."""
    async with world(park_after_s=QUIET_S) as made:
        made.left.add("container.create")
        stage = Scene(made, await made.queued())
        await stage.execute()
        await until(made.log, lambda: "r" in made.queue.parked)
        yield stage


def test_a_run_whose_session_waits_for_its_place_is_parked_until_the_session_is_active() -> None:
    async def story() -> tuple[Scene, str]:
        async with scene_without_place() as stage:
            state = (await stage.made.runs.load("r")).state
            assert state is not None
            await stage.made.sessions.handle("s", CREATED, context("created"))
            await stage.woken()
            going_on = asyncio.create_task(stage.execute(2))
            await stage.made.executor(session_id="s").started("r")
            await stage.made.executor(session_id="s").end("r")
            await going_on
            return stage, state.public_state

    stage, waited_as = run(story())

    assert (stage.last(RunParked).waits_for, waited_as) == ("place", "restoring")
    assert stage.last(RunClaimed).attempt == 1
    assert stage.last(RunFinished).outcome == "succeeded"


def test_a_run_whose_session_is_being_restored_waits_for_its_session() -> None:
    async def story() -> Scene:
        async with world(park_after_s=QUIET_S) as made:
            made.left.add("workspace.restore")
            stage = Scene(made, await made.queued())
            await stage.execute()
            return stage

    assert run(story()).last(RunParked).waits_for == "session"


def test_an_activation_that_fails_costs_a_parked_run_an_attempt_and_is_not_begun_anew() -> None:
    async def story() -> Scene:
        async with scene_without_place() as stage:
            failed = FailActivation(generation=1, step="create", error="no image")
            await stage.made.sessions.handle("s", failed, context("failed"))
            await stage.woken()
            await stage.execute(2)
            return stage

    stage = run(story())

    assert "no image" in stage.last(RunRetryScheduled).error.message
    assert stage.made.log.types("session:s").count("session.activation_requested") == 1


def test_a_run_whose_session_is_busy_is_parked_until_the_other_run_is_detached() -> None:
    async def story() -> Scene:
        async with world(park_after_s=QUIET_S) as made:
            first = Scene(made, await made.queued())
            executing = asyncio.create_task(first.execute())
            executor = made.executor(session_id="s")
            await executor.started("r")
            await executor.end("r")
            await executing
            await made.sessions.handle("s", AttachRun(run_id="bound"), context("attach"))
            await made.queued("r2")
            lease = RunLease(run_id="r2", owner="w", generation=1)
            made.queue.leased["r2"] = lease
            await made.executions.execute(lease, retry_delay=made.retry_delay)
            await until(made.log, lambda: "r2" in made.queue.parked)
            await made.sessions.handle("s", DetachRun(run_id="bound"), context("detach"))
            await until(made.log, lambda: "r2" in made.queue.waiting)
            going_on = asyncio.create_task(
                made.executions.execute(RunLease(run_id="r2", owner="w", generation=2), retry_delay=made.retry_delay)
            )
            await executor.started("r2")
            await executor.end("r2")
            await going_on
            return first

    types = run(story()).made.log.types("run:r2")

    assert (types.count("run.parked"), types.count("run.started"), types[-1]) == (1, 1, "run.finished")


def test_a_parked_run_that_is_over_a_quota_ends_at_once_without_a_place() -> None:
    over = ExceedQuota(quota="events_per_session_hour", limit=1, reached=2)

    async def story() -> Scene:
        async with scene_without_place() as stage:
            await stage.made.runs.handle("r", over, context("quota"))
            await stage.woken()
            async with asyncio.timeout(5):
                await stage.execute(2)
            return stage

    stage = run(story())

    assert stage.last(RunFinished).error.error_class == "quota_exceeded"
    assert "run.started" not in stage.made.log.types("run:r")


def test_a_run_that_is_over_a_quota_before_its_claim_starts_no_agent() -> None:
    over = ExceedQuota(quota="events_per_session_hour", limit=1, reached=2)

    async def story() -> Scene:
        async with world(park_after_s=QUIET_S) as made:
            first = Scene(made, await made.queued())
            executing = asyncio.create_task(first.execute())
            executor = made.executor(session_id="s")
            await executor.started("r")
            await executor.end("r")
            await executing  # its session is up now
            lease = await made.queued("r2")
            await made.runs.handle("r2", over, context("quota"))
            async with asyncio.timeout(5):
                await made.executions.execute(lease, retry_delay=made.retry_delay)
            return first

    types = run(story()).made.log.types("run:r2")

    assert (types.count("run.started"), types[-1]) == (0, "run.finished")


async def is_created(stage: Scene) -> None:
    stage.made.queue.parked.clear()  # its wake-up is lost
    await stage.made.sessions.handle("s", CREATED, context("created"))
    await until(stage.made.log, lambda: "session.activated" in stage.made.log.types("session:s"))


async def fails(stage: Scene) -> None:
    failed = FailActivation(generation=1, step="create", error="no image")
    await stage.made.sessions.handle("s", failed, context("failed"))


@pytest.mark.parametrize(("what", "waits"), [(nothing, True), (is_created, False), (fails, False), (cancel, False)])
def test_a_look_at_its_session_finds_whether_a_parked_run_still_waits(what: Trouble, waits: bool) -> None:
    """The first look comes right after the parking, so it finds what came between the decision and the parking."""

    async def story() -> bool:
        async with scene_without_place() as stage:
            await what(stage)
            look = LookAtParkedRuns(parked=stage.made.queue, runs=stage.made.runs, workers=stage.made.workers)
            return await look.waits(ParkedRun(run_id="r", session_id="s", waits_for="place", lease_generation=1))

    assert run(story()) is waits

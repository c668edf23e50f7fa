"""Runs that wait for a person hold nothing: when their executions let go of them, and what brings them back."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from application.ports.run_queue import ParkedRun
from application.runs import agent as run_agent
from application.runs.limits import RunLimits
from application.runs.parked import LookAtParkedRuns
from domain.run.commands import AbortRun, ClaimRun, ExceedQuota, ParkRun
from domain.run.events import RunClaimed, RunFinished, RunParked
from domain.run.state import Active
from domain.run.values import RunError
from domain.session.commands import ActivateSession, AttachRun
from tests.support.async_run import run
from tests.support.executor_in_memory import executor_error
from tests.support.parked_runs import QUIET_S, Scene, Trouble, cancel, nothing
from tests.support.world_in_memory import NO_LIMITS, context, now, until, world


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_agent, "RECONNECT_DELAY_S", QUIET_S)


@asynccontextmanager
async def scene(limits: RunLimits = NO_LIMITS) -> AsyncIterator[Scene]:
    async with world(limits=limits, park_after_s=QUIET_S) as made:
        yield Scene(made, await made.queued())


@asynccontextmanager
async def parked_scene(limits: RunLimits = NO_LIMITS) -> AsyncIterator[Scene]:
    """A run that waits for the answer to its question `q`, parked in the log and in the queue."""
    async with scene(limits) as stage:
        executing = asyncio.create_task(stage.execute())
        await stage.ask()
        await executing
        await until(stage.made.log, lambda: "r" in stage.made.queue.parked)
        yield stage


def test_a_run_that_waits_for_a_person_ends_its_execution_and_goes_on_after_the_answer() -> None:
    async def story() -> Scene:
        async with parked_scene() as stage:
            assert stage.made.log.types("run:r")[-1] == "run.parked"
            await stage.reply()
            await stage.woken()
            going_on = asyncio.create_task(stage.execute(2))
            await until(stage.made.log, lambda: stage.count("human_loop.resolved") == 1)
            await stage.made.executor(session_id="s").end("r")
            await going_on
            return stage

    stage = run(story())

    assert stage.last(RunClaimed) == RunClaimed(
        lease_generation=2, owner="w2", attempt=1, resumed=True, was_parked="person"
    )
    assert stage.last(RunFinished).outcome == "succeeded"
    assert stage.made.executor(session_id="s").starts == ["r"]
    assert stage.made.log.types("session:s").count("session.run_attached") == 1


def test_an_agent_that_goes_on_while_it_asks_is_followed() -> None:
    async def story() -> Scene:
        async with scene() as stage:
            executing = asyncio.create_task(stage.execute())
            await stage.ask()
            executor = stage.made.executor(session_id="s")
            for _ in range(10):
                await asyncio.sleep(QUIET_S / 2)
                await executor.say("r", "message.delta", text="working")
            parked = stage.count("run.parked")
            await executor.end("r")
            await executing
            assert parked == 0
            return stage

    assert run(story()).count("run.parked") == 0


def test_the_last_of_several_questions_counts() -> None:
    async def story() -> Scene:
        async with parked_scene() as stage:
            executor = stage.made.executor(session_id="s")
            await executor.say("r", "human_loop.requested", questionId="q2")
            going_on = asyncio.create_task(stage.execute(2))
            await until(stage.made.log, lambda: stage.count("human_loop.requested") == 2)
            await going_on
            return stage

    stage = run(story())

    assert stage.made.log.types("run:r")[-1] == "run.parked"
    assert stage.last(RunParked).lease_generation == 2


def test_one_that_went_on_unasked_is_not_parked_again_at_once() -> None:
    async def story() -> int:
        async with parked_scene() as stage:
            executor = stage.made.executor(session_id="s")
            await executor.say("r", "message.delta", text="by the way")
            going_on = asyncio.create_task(stage.execute(2))
            await until(stage.made.log, lambda: stage.count("message.delta") == 1)
            await asyncio.sleep(QUIET_S * 4)
            parked = stage.count("run.parked")
            await executor.end("r")
            await going_on
            return parked

    assert run(story()) == 1


async def answer(stage: Scene) -> None:
    await stage.reply()


@pytest.mark.parametrize("wake", [cancel, answer])
def test_a_reply_or_a_cancel_that_comes_just_before_it_is_parked_is_not_missed(
    wake: Callable[[Scene], Coroutine[Any, Any, None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the decision to park and its record: the run does not wait any more, so it is not parked."""

    async def story() -> Scene:
        async with scene() as stage:
            handle = stage.made.runs.handle

            async def late(key: str, command: Any, *more: Any) -> Any:
                if type(command).__name__ == "ParkRun":
                    monkeypatch.setattr(stage.made.runs, "handle", handle)
                    await wake(stage)
                return await handle(key, command, *more)

            monkeypatch.setattr(stage.made.runs, "handle", late)
            executing = asyncio.create_task(stage.execute())
            await stage.ask()
            await until(
                stage.made.log, lambda: stage.count("human_loop.resolved") + stage.count("human_loop.canceled") > 0
            )
            if wake is answer:
                await stage.made.executor(session_id="s").end("r")
            await executing
            return stage

    stage = run(story())

    assert stage.count("run.parked") == 0
    assert stage.last(RunFinished).outcome == ("canceled" if wake is cancel else "succeeded")


def test_a_cancel_of_a_parked_run_ends_its_agent() -> None:
    async def story() -> Scene:
        async with parked_scene() as stage:
            await cancel(stage)
            await stage.woken()
            await stage.execute(2)
            return stage

    stage = run(story())

    assert stage.made.executor(session_id="s").stopped == ["r"]
    assert stage.last(RunFinished).outcome == "canceled"


def test_a_parked_run_that_is_aborted_ends_its_agent() -> None:
    async def story() -> Scene:
        async with parked_scene() as stage:
            await is_aborted(stage)
            await stage.woken()
            await stage.execute(2)
            return stage

    stage = run(story())

    assert stage.made.executor(session_id="s").stopped == ["r"]
    assert stage.last(RunFinished).error == ABORTED


def test_a_parked_run_over_a_quota_ends_its_agent() -> None:
    async def story() -> Scene:
        async with parked_scene() as stage:
            await is_over_a_quota(stage)
            await stage.woken()
            await stage.execute(2)
            return stage

    stage = run(story())

    assert set(stage.made.executor(session_id="s").stopped) == {"r"}
    assert stage.last(RunFinished).error.error_class == "quota_exceeded"


def test_the_limit_of_an_agents_time_holds_while_it_waits() -> None:
    limit = timedelta(seconds=1)

    async def story() -> tuple[Scene, timedelta]:
        async with parked_scene(RunLimits(run=limit, silence=timedelta())) as stage:
            state = (await stage.made.runs.load("r")).state
            assert state is not None
            assert isinstance(state.stage, Active)
            assert state.stage.started_at is not None
            due = stage.made.queue.parked["r"].until - state.stage.started_at
            await asyncio.sleep(limit.total_seconds())
            await stage.execute(2)
            return stage, due

    stage, due = run(story())

    assert abs(due - limit) < timedelta(milliseconds=100)
    assert stage.count("run.timed_out") == 1
    assert stage.last(RunFinished).error.error_class == "timeout"


async def says_more(stage: Scene) -> None:
    await stage.made.executor(session_id="s").say("r", "message.delta", text="more")


async def ends(stage: Scene) -> None:
    await stage.made.executor(session_id="s").end("r")


async def is_forgotten(stage: Scene) -> None:
    del stage.made.executor(session_id="s").journals["r"]


async def does_not_answer(stage: Scene) -> None:
    stage.made.executor(session_id="s").troubles["run_state"] = [executor_error()]


async def is_gone(stage: Scene) -> None:
    await does_not_answer(stage)
    stage.made.runtime.gone.add("s")


async def is_answered(stage: Scene) -> None:
    await stage.reply()


ABORTED = RunError(error_class="environment", message="too much on its disk")


async def is_aborted(stage: Scene) -> None:
    await stage.made.runs.handle("r", AbortRun(error=ABORTED), context("abort"))


async def is_over_a_quota(stage: Scene) -> None:
    over = ExceedQuota(quota="events_per_session_hour", limit=1, reached=2)
    await stage.made.runs.handle("r", over, context("quota"))


@pytest.mark.parametrize(
    ("what", "waits"),
    [
        (nothing, True),
        (does_not_answer, True),
        (is_aborted, False),
        (is_over_a_quota, False),
        (says_more, False),
        (ends, False),
        (is_forgotten, False),
        (is_gone, False),
        (is_answered, False),
    ],
)
def test_a_look_at_its_executor_finds_whether_a_parked_run_still_waits(what: Trouble, waits: bool) -> None:
    async def story() -> bool:
        async with parked_scene() as stage:
            await what(stage)
            look = LookAtParkedRuns(parked=stage.made.queue, runs=stage.made.runs, workers=stage.made.workers)
            return await look.waits(ParkedRun(run_id="r", session_id="s", waits_for="person", lease_generation=1))

    assert run(story()) is waits


@pytest.mark.parametrize(("outside", "waits"), [(True, False), (False, True)])
def test_a_run_that_waits_for_its_session_waits_for_the_run_in_it_and_for_no_external_one(
    outside: bool, waits: bool
) -> None:
    async def story() -> bool:
        async with scene() as stage:
            made = stage.made
            activate = ActivateSession(session_id="s", app_id="default", project_name="default", user_login_name="ada")
            await made.sessions.handle("s", activate, context("activate"))
            await until(made.log, lambda: "session.activated" in made.log.types("session:s"))
            await made.sessions.handle("s", AttachRun(run_id="another", outside=outside), context("attach"))
            steps: list[tuple[Any, str]] = [
                (ClaimRun(lease_generation=1, owner="w1"), ""),
                (ParkRun(lease_generation=1, waits_for="session", until=now() + timedelta(hours=1)), ""),
            ]
            await made.runs.handle_batch("r", steps, context("park"))
            look = LookAtParkedRuns(parked=made.queue, runs=made.runs, workers=made.workers)
            return await look.waits(ParkedRun(run_id="r", session_id="s", waits_for="session", lease_generation=1))

    assert run(story()) is waits

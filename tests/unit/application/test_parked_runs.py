"""Runs that wait hold nothing: when their executions let go of them, and what brings them back."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from application.ports.run_queue import ParkedRun, RunLease
from application.runs import agent as run_agent
from application.runs.limits import RunLimits
from application.runs.parked import LookAtParkedRuns
from domain.run.commands import AbortRun, CancelRun, ReplyToQuestion
from domain.run.events import RunClaimed, RunFinished, RunParked, RunRetryScheduled
from domain.run.state import Active, Run
from domain.run.values import RunError
from domain.session.commands import AttachRun, DetachRun, FailActivation, RecordContainerCreated
from domain.session.state import Container
from tests.support.async_run import run
from tests.support.executor_in_memory import executor_error
from tests.support.world_in_memory import NO_LIMITS, World, context, until, world

QUIET_S = 0.05


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_agent, "RECONNECT_DELAY_S", QUIET_S)


@dataclass
class Scene:
    made: World
    lease: RunLease

    async def execute(self, generation: int = 1) -> Run:
        lease = RunLease(run_id="r", owner=f"w{generation}", generation=generation)
        self.made.queue.leased["r"] = lease
        ended = await self.made.executions.execute(lease, retry_delay=self.made.retry_delay)
        assert ended is not None
        return ended

    async def ask(self, question_id: str = "q") -> None:
        executor = self.made.executor(session_id="s")
        await executor.started("r")
        await executor.say("r", "human_loop.requested", questionId=question_id)

    async def reply(self, question_id: str = "q") -> None:
        reply = ReplyToQuestion(question_id=question_id, answer="yes")
        await self.made.runs.handle("r", reply, context(f"reply/{question_id}"))

    async def woken(self) -> None:
        await until(self.made.log, lambda: "r" in self.made.queue.waiting)

    def count(self, type_: str) -> int:
        return self.made.log.types("run:r").count(type_)

    def last(self, kind: type[Any]) -> Any:
        return [event.event for event in self.made.log.of("run:r") if isinstance(event.event, kind)][-1]


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


async def cancel(stage: Scene) -> None:
    await stage.made.runs.handle("r", CancelRun(), context("cancel"))


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


Trouble = Callable[[Scene], Coroutine[Any, Any, None]]


async def nothing(_stage: Scene) -> None: ...


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


@pytest.mark.parametrize(
    ("what", "waits"),
    [
        (nothing, True),
        (does_not_answer, True),
        (is_aborted, False),
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

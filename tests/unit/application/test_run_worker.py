"""The run worker: what it claims, keeps, gives back, takes over and loses."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from application.aggregates.reconcile_log import ReconcileLog, TakeoverLog
from application.outages import PAUSE_S, Outages
from application.ports.run_queue import DrainCounts
from application.runs.worker import RunWorker
from domain.operations.events import ReconcileFinished
from domain.record import RecordedEvent
from domain.run.commands import CancelRun, ReplyToQuestion
from domain.run.events import RunRetryScheduled
from domain.session.commands import RecordContainerCreated
from domain.session.state import Container
from tests.support.async_run import run
from tests.support.executor_in_memory import MemoryExecutor, executor_error
from tests.support.world_in_memory import World, context, now, until, world

LEASE = timedelta(milliseconds=60)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def worker(made: World, *, owner: str = "w1", lease: timedelta = LEASE, concurrency: int = 32) -> RunWorker:
    return RunWorker(
        queue=made.queue,
        executions=made.executions,
        takeover_log=TakeoverLog(ReconcileLog(store=made.log, clock=now)),
        owner=owner,
        lease=lease,
        retry_delay=made.retry_delay,
        concurrency=concurrency,
    )


@asynccontextmanager
async def working(made: World, run_worker: RunWorker) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(run_worker.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_runs_are_claimed_as_they_come_and_seen_through_to_their_end() -> None:
    async def scene() -> list[str]:
        async with world() as made, working(made, worker(made)):
            for number in range(3):
                await made.queued(f"r{number}", f"s{number}")
            for number in range(3):
                executor = made.executor(session_id=f"s{number}")
                await executor.started(f"r{number}")
                await executor.end(f"r{number}")
            await until(made.log, lambda: all("run.finished" in made.log.types(f"run:r{n}") for n in range(3)))
            return [made.log.types(f"run:r{n}")[-1] for n in range(3)]

    assert run(scene()) == ["run.finished"] * 3


def test_a_worker_that_is_told_to_end_gives_its_runs_back_at_once() -> None:
    async def scene() -> tuple[list[tuple[str, timedelta]], list[str], list[str]]:
        async with world() as made:
            run_worker = worker(made)
            async with working(made, run_worker) as task:
                await made.queued()
                await made.executor(session_id="s").started("r")
                before = run_worker.under_way
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            return made.queue.released, before, run_worker.under_way

    assert run(scene()) == ([("r", timedelta())], ["r"], [])


def test_a_lease_that_can_not_be_renewed_ends_the_work_and_is_said_in_the_log() -> None:
    async def scene() -> list[str]:
        async with world() as made, working(made, worker(made)):
            await made.queued()
            await made.executor(session_id="s").started("r")
            made.queue.lost.add("r")
            await until(made.log, lambda: "run.lease_lost" in made.log.types("run:r"))
            await made.executor(session_id="s").say("r", "message.delta", text="unheard")
            return made.log.types("run:r")

    assert run(scene())[-1] == "run.lease_lost"


def test_an_execution_that_breaks_off_is_taken_up_again_later() -> None:
    async def scene() -> list[tuple[str, timedelta]]:
        async with world() as made:
            made.executor(session_id="s").troubles["follow"] = [ZeroDivisionError("a bug")]  # type: ignore[list-item]
            async with working(made, worker(made)):
                await made.queued()
                await made.executor(session_id="s").started("r")
                await until(made.log, lambda: bool(made.queue.released))
            return made.queue.released

    assert run(scene()) == [("r", timedelta(minutes=5))]


async def begun(made: World, run_id: str, attempt: int) -> MemoryExecutor:
    """The executor, once it has started the run's agent for this attempt."""
    executor = made.executor(session_id=run_id)
    async with executor.changed:
        await executor.changed.wait_for(lambda: executor.attempts.get(run_id) == attempt)
    return executor


async def failed(made: World, run_id: str, attempt: int) -> None:
    """The agent of this attempt fails, because its model does."""
    executor = await begun(made, run_id, attempt)
    error = {"errorClass": "model_unavailable", "message": "overloaded"}
    await executor.say(run_id, "run.agent_finished", outcome="failed", error=error)


def test_runs_whose_model_is_down_wait_without_burning_their_tries_and_go_on_when_it_works_again() -> None:
    async def scene() -> None:
        clock = Clock()
        async with world(outages=Outages(clock), retry_delay=timedelta()) as made, working(made, worker(made)):
            await made.queued("r1", "r1", max_attempts=5)
            for attempt in range(1, 6):  # the last of its tries, and one more than the model may fail in a row
                await failed(made, "r1", attempt)
            await until(made.log, lambda: made.log.types("run:r1").count("run.retry_scheduled") == 5)
            retries = [event.event for event in made.log.of("run:r1") if isinstance(event.event, RunRetryScheduled)]
            assert [retry.excused for retry in retries] == [False, False, False, False, True]

            await made.queued("r2", "r2")
            await until(made.log, lambda: {"r1", "r2"} <= {run_id for run_id, _ in made.queue.released})
            assert dict(made.queue.released)["r2"] == timedelta(seconds=PAUSE_S)
            assert made.log.types("run:r2") == ["run.queued"]  # no claim is recorded

            await made.queued("other", "other", provider="codex-cli")  # another model's run is not held up
            await made.executor(session_id="other").started("other")

            clock.now += PAUSE_S
            made.queue.due("r1")
            executor = await begun(made, "r1", 6)
            await executor.say("r1", "message.delta", text="it works again")
            await until(made.log, lambda: "message.delta" in made.log.types("run:r1"))
            made.queue.due("r2")
            await begun(made, "r2", 1)
            await executor.end("r1")
            await until(made.log, lambda: "run.finished" in made.log.types("run:r1"))

    run(scene())


def test_a_stale_run_is_taken_over_and_found_in_the_log() -> None:
    async def scene() -> tuple[list[str], ReconcileFinished, str]:
        async with world() as made:
            first = worker(made, owner="w1", lease=timedelta(minutes=1))
            async with working(made, first):
                await made.queued()
                await made.executor(session_id="s").started("r")
                await until(made.log, lambda: "run.started" in made.log.types("run:r"))
                made.queue.expire("r")
                # The first one hangs; another finds what it left.
                async with working(made, worker(made, owner="w2")):
                    await until(made.log, lambda: bool(made.log.of("reconcile:runs")))
                    await made.executor(session_id="s").end("r")
                    await until(made.log, lambda: "run.finished" in made.log.types("run:r"))
            found = made.log.of("reconcile:runs")[0]
            assert isinstance(found.event, ReconcileFinished)
            return made.log.types("run:r"), found.event, found.metadata.actor

    types, finding, actor = run(scene())

    assert (types.count("run.claimed"), types.count("run.finished")) == (2, 1)
    assert finding == ReconcileFinished(what="runs", examined=1, acted=1, subjects=("r",))
    assert actor in {"run-worker/w1", "run-worker/w2"}


def test_taking_over_on_request_leaves_what_is_not_stale_alone() -> None:
    async def scene() -> tuple[tuple[str, ...], tuple[str, ...], int]:
        async with world() as made:
            run_worker = worker(made, lease=timedelta(minutes=1))
            await made.queued("fresh", "s1")
            await made.queued("stale", "s2")
            await until(made.log, lambda: {"fresh", "stale"} <= set(made.queue.waiting))
            del made.queue.waiting["stale"]
            made.queue.expired["stale"] = "gone"
            first = await run_worker.take_over(limit=10, wait_s=0)
            second = await run_worker.take_over(limit=10, wait_s=0)
            executor = made.executor(session_id="s2")
            await executor.started("stale")
            await executor.end("stale")
            await until(made.log, lambda: "run.finished" in made.log.types("run:stale"))
            return first.run_ids, second.run_ids, len(made.log.types("run:fresh"))

    assert run(scene()) == (("stale",), (), 1)


def test_draining_counts_what_became_of_the_runs() -> None:
    async def scene() -> tuple[DrainCounts, RecordedEvent]:
        async with world() as made:
            made.executor(session_id="s2").troubles["start_run"] = [executor_error("no", status=503)]
            made.executor(session_id="s3").troubles["start_run"] = [executor_error("no", status=400)]
            for number in (1, 2, 3, 4):
                await made.queued(f"r{number}", f"s{number}")
            await until(made.log, lambda: len(made.queue.waiting) == 4)
            draining = asyncio.create_task(
                worker(made).drain(
                    owner="d", limit=5, lease=timedelta(minutes=1), retry_delay=timedelta(minutes=9), wait_s=30
                )
            )
            executor = made.executor(session_id="s1")
            await executor.started("r1")
            await executor.end("r1")
            await made.executor(session_id="s4").started("r4")
            await made.runs.handle("r4", CancelRun(), context("cancel"))
            return await draining, made.log.of("run:r2")[-1]

    counts, scheduled = run(scene())

    assert counts == DrainCounts(claimed=4, succeeded=1, retried=1, failed=1, canceled=1)
    assert isinstance(scheduled.event, RunRetryScheduled)
    wait = scheduled.event.available_at - scheduled.occurred_at
    assert timedelta(minutes=8) < wait <= timedelta(minutes=9)  # not the configured delay


async def asks(made: World, number: int) -> None:
    executor = made.executor(session_id=f"s{number}")
    await executor.started(f"r{number}")
    await executor.say(f"r{number}", "human_loop.requested", questionId="q")
    await until(made.log, lambda: f"r{number}" in made.queue.parked)


def test_runs_that_wait_for_people_take_no_slot_from_others_and_go_on_when_they_are_answered() -> None:
    async def scene() -> list[str]:
        async with world(park_after_s=0.05) as made, working(made, worker(made, concurrency=1)):
            for number in range(3):
                await made.queued(f"r{number}", f"s{number}")
                await asks(made, number)
            reply = ReplyToQuestion(question_id="q", answer="yes")
            await made.runs.handle("r0", reply, context("reply"))
            await until(made.log, lambda: "human_loop.resolved" in made.log.types("run:r0"))
            await made.executor(session_id="s0").end("r0")
            await until(made.log, lambda: "run.finished" in made.log.types("run:r0"))
            return made.log.types("run:r0")

    types = run(scene())

    assert (types.count("run.claimed"), types.count("run.started"), types[-1]) == (2, 1, "run.finished")


def test_a_parked_run_that_is_canceled_needs_no_slot_of_those_that_are_busy() -> None:
    async def scene() -> tuple[list[str], list[str]]:
        async with world(park_after_s=0.05) as made:
            run_worker = worker(made, concurrency=1)
            async with working(made, run_worker):
                await made.queued("r0", "s0")
                await asks(made, 0)
                await made.queued("r1", "s1")
                await made.executor(session_id="s1").started("r1")
                await made.runs.handle("r0", CancelRun(), context("cancel"))
                await until(made.log, lambda: "run.finished" in made.log.types("run:r0"))
                return made.log.types("run:r0")[-3:], run_worker.under_way

    types, under_way = run(scene())

    assert types[-1] == "run.finished"
    assert "r1" in under_way


def test_draining_executes_a_run_that_waits_to_its_end() -> None:
    """Nobody else may be there to take it up again."""

    async def scene() -> tuple[DrainCounts, list[str]]:
        async with world(park_after_s=0.05) as made:
            made.left.add("container.create")
            await made.queued("r0", "s0")
            await until(made.log, lambda: "r0" in made.queue.waiting)
            draining = asyncio.create_task(worker(made).drain(limit=1, lease=timedelta(minutes=1), wait_s=30))
            await until(made.log, lambda: "session.activation_requested" in made.log.types("session:s0"))
            await asyncio.sleep(0.2)
            created = RecordContainerCreated(
                generation=1, container=Container(container_id="s0", runtime="memory", daemon_id="d")
            )
            await made.sessions.handle("s0", created, context("created"))
            executor = made.executor(session_id="s0")
            await executor.started("r0")
            await executor.say("r0", "human_loop.requested", questionId="q")
            await asyncio.sleep(0.2)
            await executor.end("r0")
            return await draining, made.log.types("run:r0")

    counts, types = run(scene())

    assert counts == DrainCounts(claimed=1, succeeded=1)
    assert "run.parked" not in types

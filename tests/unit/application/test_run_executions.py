"""From a claim to run.finished: what an execution does to the log, whatever its executor and session do."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from application.ports.executor import ExecutorError
from application.ports.run_queue import RunLease
from application.runs import ending as run_ending
from application.runs.execution_context import ExecutionContext
from application.runs.limits import RunLimits
from domain.run.commands import CancelRun, ClaimRun
from domain.run.events import RunAgentFinished, RunFinished, RunRetryScheduled, RunTailLost
from domain.run.state import Run
from domain.session.commands import RequestCollection, RequestSync
from domain.session.events import ContainerStarted
from tests.support.async_run import run
from tests.support.executor_in_memory import executor_error
from tests.support.world_in_memory import World, context, now, until, world

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LIFE = [
    "run.queued",
    "run.claimed",
    "run.phase",
    "run.phase",
    "run.phase",
    "run.started",
    "message.delta",
    "run.agent_finished",
    "run.syncing",
    "run.exported",
    "run.finished",
]


async def execute(made: World, lease: RunLease) -> Run | None:
    return await made.executions.execute(lease, retry_delay=made.retry_delay)


def executed(script: Callable[[World], Coroutine[Any, Any, None]], **spec: Any) -> World:
    """A run `r` of session `s`, executed while `script` plays its executor; the world afterwards."""

    async def scene() -> World:
        async with world() as made:
            lease = await made.queued(**spec)
            playing = asyncio.create_task(script(made))
            await execute(made, lease)
            await playing
            return made

    return run(scene())


def last(made: World, kind: type[Any]) -> Any:
    return [event.event for event in made.log.of("run:r") if isinstance(event.event, kind)][-1]


async def speaks_and_ends(made: World) -> None:
    executor = made.executor(session_id="s")
    await executor.started("r")
    await executor.say("r", "message.delta", text="hello")
    await executor.end("r")


def test_a_run_goes_from_its_claim_to_its_end_and_lets_go_of_its_session() -> None:
    made = executed(speaks_and_ends)

    assert made.log.types("run:r") == LIFE
    assert (last(made, RunFinished).outcome, last(made, RunFinished).exported) == ("succeeded", True)
    session = made.log.types("session:s")
    assert session.count("session.run_attached") == session.count("session.run_detached") == 1
    assert made.queue.leased == {}


async def second_run(made: World, *health_troubles: ExecutorError) -> None:
    """After run `r`, run `r2` of the same session, whose worker is up. `health_troubles` are what its executor answers
    to the first calls for its health."""
    first = asyncio.create_task(speaks_and_ends(made))
    await execute(made, await made.queued())
    await first
    executor = made.executor(session_id="s")
    executor.troubles["health"] = list(health_troubles)
    lease = await made.queued("r2")
    executing = asyncio.create_task(execute(made, lease))
    await executor.started("r2")
    await executor.say("r2", "message.delta", text="hello")
    await executor.end("r2")
    await executing


def test_an_executor_that_serves_elsewhere_than_recorded_is_recorded_before_a_run_starts() -> None:
    """As after the death of a control plane between an executor's start and the record of it."""

    async def scene() -> World:
        async with world() as made:
            first = asyncio.create_task(speaks_and_ends(made))
            await execute(made, await made.queued())
            await first
            made.runtime.moved["s"] = "elsewhere"
            executor = made.executor(session_id="s")
            executing = asyncio.create_task(execute(made, await made.queued("r2")))
            await executor.started("r2")
            await executor.end("r2")
            await executing
            return made

    made = run(scene())

    assert last_of_session(made, ContainerStarted).url == "elsewhere"
    assert made.log.types("run:r2").count("run.retry_scheduled") == 0


def last_of_session(made: World, kind: type[Any]) -> Any:
    return [event.event for event in made.log.of("session:s") if isinstance(event.event, kind)][-1]


@pytest.mark.parametrize(
    ("health_troubles", "activation"),
    [pytest.param((), "touch", id="answers"), pytest.param((executor_error(),), "activate", id="answers later")],
)
def test_a_run_whose_worker_is_up_starts_in_the_same_steps_whether_or_not_it_answers_at_once(
    health_troubles: tuple[ExecutorError, ...], activation: str
) -> None:
    async def scene() -> World:
        async with world() as made:
            await second_run(made, *health_troubles)
            return made

    made = run(scene())

    assert made.log.types("run:r2") == LIFE
    session = made.log.types("session:s")
    assert session.count("session.run_attached") == session.count("session.run_detached") == 2
    touched = [event for event in made.log.of("session:s") if event.event.wire_name == "session.touched"]
    assert [event.event_id for event in touched] == [f"lease/r2/1/{activation}"]


def test_an_executor_that_is_away_for_a_moment_changes_nothing() -> None:
    async def script(made: World) -> None:
        executor = made.executor(session_id="s")
        executor.troubles["follow"] = [executor_error(), executor_error()]
        await speaks_and_ends(made)

    made = executed(script)

    assert made.log.types("run:r") == LIFE
    assert made.executor(session_id="s").starts == ["r"]


def test_a_container_that_is_gone_ends_the_run_and_says_what_may_be_lost() -> None:
    async def script(made: World) -> None:
        executor = made.executor(session_id="s")
        await executor.started("r")
        await executor.say("r", "message.delta", text="hello")
        await until(made.log, lambda: "message.delta" in made.log.types("run:r"))
        made.runtime.gone.add("s")
        executor.troubles["follow"], executor.troubles["health"] = [executor_error()], [executor_error()]
        await executor.say("r", "message.delta", text="never read")

    made = executed(script)

    assert last(made, RunTailLost).recorded_entries >= 1
    assert last(made, RunAgentFinished).error.error_class == "executor_lost"
    assert last(made, RunFinished).outcome == "failed"
    assert made.executor(session_id="s").starts == ["r"]


@pytest.mark.parametrize(("status", "outcome"), [(503, "retried"), (400, "failed")])
def test_an_agent_that_is_refused_is_tried_again_unless_it_is_the_callers_fault(status: int, outcome: str) -> None:
    async def script(made: World) -> None:
        made.executor(session_id="s").troubles["start_run"] = [executor_error("no", status=status)]

    made = executed(script)

    assert made.log.types("run:r")[-1] == {"retried": "run.retry_scheduled", "failed": "run.finished"}[outcome]
    assert "session.run_detached" in made.log.types("session:s")


def test_the_first_retry_waits_for_the_retry_delay() -> None:
    async def script(made: World) -> None:
        made.executor(session_id="s").troubles["start_run"] = [executor_error("no", status=503)]

    made = executed(script)

    scheduled = made.log.of("run:r")[-1]
    assert isinstance(scheduled.event, RunRetryScheduled)
    wait = scheduled.event.available_at - scheduled.occurred_at
    assert timedelta(minutes=4) < wait <= timedelta(minutes=5)


@pytest.mark.parametrize("attempt", [1, 2, 5])
@pytest.mark.parametrize(("jitter", "factor"), [(0.0, 1.0), (0.5, 1.1), (1.0, 1.2)])
def test_jitter_makes_a_retry_wait_up_to_a_fifth_longer(jitter: float, factor: float, attempt: int) -> None:
    ports = replace(World(jitter=jitter).execution_ports, clock=lambda: NOW)
    lease = RunLease(run_id="r", owner="w1", generation=1)
    execution = ExecutionContext(ports=ports, lease=lease, retry_delay=timedelta(minutes=5))

    assert execution.retry_at(attempt) == NOW + timedelta(minutes=5) * attempt * factor


def test_a_run_that_is_canceled_while_it_waits_for_its_session_never_starts() -> None:
    async def scene() -> World:
        made = World()  # nobody performs its effects: the session stays on its way up
        lease = await made.queued()
        executing = asyncio.create_task(execute(made, lease))
        await until(made.log, lambda: "run.phase" in made.log.types("run:r"))
        await made.runs.handle("r", CancelRun(), context("cancel"))
        await executing
        return made

    made = run(scene())

    assert last(made, RunFinished).outcome == "canceled"
    assert made.executor(session_id="s").starts == []


def test_a_cancel_ends_the_agent() -> None:
    async def script(made: World) -> None:
        await made.executor(session_id="s").started("r")
        await until(made.log, lambda: "run.started" in made.log.types("run:r"))
        await made.runs.handle("r", CancelRun(), context("cancel"))

    made = executed(script)

    assert made.executor(session_id="s").stopped == ["r"]
    assert last(made, RunFinished).outcome == "canceled"


def test_who_is_overtaken_by_another_holder_writes_nothing_more() -> None:
    async def scene() -> tuple[Run | None, World]:
        async with world() as made:
            lease = await made.queued()
            executing = asyncio.create_task(execute(made, lease))
            executor = made.executor(session_id="s")
            await executor.started("r")
            await made.runs.handle("r", ClaimRun(lease_generation=2, owner="w2"), context("claim"))
            await executor.say("r", "message.delta", text="hello")
            return await executing, made

    result, made = run(scene())

    assert result is None
    assert made.log.types("run:r")[-1] == "run.claimed"


def test_who_takes_over_goes_on_where_the_log_stands() -> None:
    async def scene() -> World:
        async with world() as made:
            lease = await made.queued()
            first = asyncio.create_task(execute(made, lease))
            executor = made.executor(session_id="s")
            await executor.started("r")
            await executor.say("r", "message.delta", text="one")
            await until(made.log, lambda: "message.delta" in made.log.types("run:r"))
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            await executor.say("r", "message.delta", text="two")
            await executor.end("r")
            await execute(made, msgspec.structs.replace(lease, owner="w2", generation=2))
            return made

    made = run(scene())

    types = made.log.types("run:r")
    assert (types.count("message.delta"), types.count("run.started"), types.count("run.finished")) == (2, 1, 1)
    assert made.executor(session_id="s").starts == ["r"]
    assert last(made, RunFinished).outcome == "succeeded"


def test_a_journal_that_leaves_out_an_entry_is_lost_and_its_agent_ends() -> None:
    async def script(made: World) -> None:
        executor = made.executor(session_id="s")
        await executor.started("r")
        await executor.say("r", "message.delta", text="one")
        await executor.say("r", "message.delta", text="three", skip=1)

    made = executed(script)

    assert last(made, RunTailLost).recorded_entries == 1
    assert made.executor(session_id="s").stopped == ["r"]
    assert "journal is lost" in last(made, RunFinished).error.message


def test_a_run_that_its_executor_has_forgotten_is_never_started_again() -> None:
    async def script(made: World) -> None:
        executor = made.executor(session_id="s")
        await executor.started("r")
        await executor.say("r", "message.delta", text="one")
        await until(made.log, lambda: "message.delta" in made.log.types("run:r"))
        executor.troubles["follow"] = [executor_error()]
        journal = executor.journals.pop("r")
        async with executor.changed:
            executor.changed.notify_all()
        assert journal

    made = executed(script)

    assert made.executor(session_id="s").starts == ["r"]
    assert last(made, RunFinished).outcome == "failed"


def test_an_agent_that_says_nothing_for_too_long_is_ended() -> None:
    async def scene() -> World:
        async with world(limits=RunLimits(run=timedelta(), silence=timedelta(milliseconds=50))) as made:
            lease = await made.queued()
            await execute(made, lease)
            return made

    made = run(scene())

    assert "run.timed_out" in made.log.types("run:r")
    assert last(made, RunFinished).outcome == "failed"


def test_a_sync_that_fails_for_good_ends_the_run_without_an_export() -> None:
    async def script(made: World) -> None:
        made.executor(session_id="s").troubles["sync"] = [executor_error("disk_full", status=507)] * 3
        await speaks_and_ends(made)

    made = executed(script)

    finished = last(made, RunFinished)
    assert (finished.outcome, finished.exported) == ("succeeded", False)
    assert "run.warning" in made.log.types("run:r")


def test_the_final_sync_is_done_by_who_executes_the_run() -> None:
    async def script(made: World) -> None:
        made.left.add("workspace.sync")
        await speaks_and_ends(made)

    made = executed(script)

    synced = next(event for event in made.log.of("session:s") if event.event.wire_name == "session.synced")
    assert synced.metadata.causation_id == "lease/r/1"
    assert made.log.types("run:r") == LIFE


def test_a_final_sync_that_fails_at_once_is_left_to_the_effect_worker() -> None:
    async def script(made: World) -> None:
        made.executor(session_id="s").troubles["sync"] = [executor_error()]
        await speaks_and_ends(made)

    made = executed(script)

    synced = next(event for event in made.log.of("session:s") if event.event.wire_name == "session.synced")
    assert synced.metadata.causation_id.startswith("workspace.sync/")
    assert made.log.types("session:s").count("session.sync_failed") == 1
    assert made.log.types("run:r") == LIFE


def test_a_final_sync_waits_for_its_turn_while_content_is_collected() -> None:
    async def script(made: World) -> None:
        made.left.add("workspace.collect")
        executor = made.executor(session_id="s")
        await executor.started("r")
        await made.sessions.handle("s", RequestSync(sync_id="first", reason="manual"), context("sync"))
        await until(made.log, lambda: "session.synced" in made.log.types("session:s"))
        collection = RequestCollection(collection_id="c", kept_since=now())
        await made.sessions.handle("s", collection, context("collect"))
        await executor.end("r")

    made = executed(script)

    synced = [event for event in made.log.of("session:s") if event.event.wire_name == "session.synced"]
    assert synced[-1].metadata.causation_id.startswith("workspace.sync/")
    assert last(made, RunFinished).exported


def test_a_final_sync_that_gets_no_answer_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_ending, "FINAL_SYNC_TIMEOUT_S", 0.2)
    monkeypatch.setattr(run_ending, "LAST_LOOK_S", 0.1)

    async def script(made: World) -> None:
        made.left.add("workspace.sync")
        executor = made.executor(session_id="s")
        monkeypatch.setattr(executor, "sync", lambda _request: asyncio.Event().wait())
        await speaks_and_ends(made)

    made = executed(script)

    finished = last(made, RunFinished)
    assert (finished.outcome, finished.exported) == ("succeeded", False)
    assert "run.warning" in made.log.types("run:r")

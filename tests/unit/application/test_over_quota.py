"""A run over a quota: its agent is ended, its end is recorded, and nothing waits for ever."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from application.runs import agent as run_agent
from application.runs.callbacks import Callback, RecordCallbacks, Report, callback_event
from application.runs.session_quotas import HourlyQuotas
from domain.errors import Conflict
from domain.run.events import RunFinished, RunQuotaExceeded, RunTailLost
from domain.run.quotas import RunQuotas
from infrastructure.system_clock import now
from tests.support.async_run import run
from tests.support.world_in_memory import World, context, world
from tests.unit.application.test_run_executions import LIFE, execute, last


@pytest.mark.parametrize(
    ("settings", "quota", "recorded"),
    [
        ({"quotas": RunQuotas(events=3)}, "events_per_run", 3),
        ({"hourly": HourlyQuotas(events=3)}, "events_per_session_hour", 4),
    ],
)
def test_a_run_over_a_quota_is_ended_and_only_its_end_is_recorded_after_it(
    settings: dict[str, Any], quota: str, recorded: int
) -> None:
    async def floods(made: World) -> None:
        executor = made.executor(session_id="s")
        await executor.started("r")
        while not executor.stopped:
            await executor.say("r", "message.delta", text="x")
            await asyncio.sleep(0)

    async def scene() -> World:
        async with world(**settings) as made:
            lease = await made.queued()
            flooding = asyncio.create_task(floods(made))
            await execute(made, lease)
            await flooding
            return made

    made = run(scene())

    types = made.log.types("run:r")
    assert types.count("message.delta") == recorded
    exceeded = last(made, RunQuotaExceeded)
    assert (exceeded.quota, exceeded.limit, exceeded.reached) == (quota, 3, 4)
    ended = types[types.index("run.quota_exceeded") + 1 :]
    assert [name for name in ended if name != "run.tail_lost"] == LIFE[-4:]
    finished = last(made, RunFinished)
    assert (finished.outcome, finished.exported) == ("failed", True)
    assert finished.error.error_class == "quota_exceeded"


def test_a_session_over_its_hourly_quota_has_its_next_run_ended_too() -> None:
    async def scene() -> World:
        async with world(hourly=HourlyQuotas(events=1)) as made:
            executor = made.executor(session_id="s")
            for run_id in ("r", "r2"):
                lease = await made.queued(run_id)
                playing = asyncio.create_task(executor.started(run_id))
                executing = asyncio.create_task(execute(made, lease))
                await playing
                for _ in range(2):
                    await executor.say(run_id, "message.delta", text="x")
                await executing
            return made

    made = run(scene())

    for run_id in ("r", "r2"):
        (finished,) = [each.event for each in made.log.of(f"run:{run_id}") if isinstance(each.event, RunFinished)]
        assert finished.error is not None
        assert "in this hour" in finished.error.message


def test_an_agent_over_a_quota_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_agent, "END_POLL_S", 0.01)
    monkeypatch.setattr(run_agent, "LONGEST_END_S", 0.05)

    async def scene() -> World:
        async with world(quotas=RunQuotas(events=1)) as made:
            executor = made.executor(session_id="s")

            async def deaf(run_id: str) -> None:
                executor.stopped.append(run_id)

            monkeypatch.setattr(executor, "stop_run", deaf)
            lease = await made.queued()
            executing = asyncio.create_task(execute(made, lease))
            await executor.started("r")
            for _ in range(2):
                await executor.say("r", "message.delta", text="x")
            await executing
            return made

    made = run(scene())

    assert last(made, RunFinished).error.error_class == "quota_exceeded"
    assert "did not end within" in last(made, RunTailLost).reason


def recorder(made: World) -> RecordCallbacks:
    no_secrets: Any = None  # of a run without any in its options
    return RecordCallbacks(
        runs=made.runs,
        store=made.log,
        clock=now,
        human_loop_timeout_ms=1000,
        redact=lambda value, also=(): value,
        secrets=no_secrets,
        session_quotas=made.execution_ports.session_quotas,
    )


def deltas(*event_ids: str) -> list[Report]:
    callbacks = [Callback(event_id=each, type="message.delta", payload={"text": "x"}) for each in event_ids]
    return [Report(callback=each, event=callback_event(each), size=20) for each in callbacks]


async def reported(recording: RecordCallbacks, reports: Sequence[Report]) -> str:
    """`recorded`, or the reason of the refusal."""
    try:
        await recording.handle("r", reports, context("callbacks"))
    except Conflict as error:
        return str(error.reason)
    return "recorded"


@pytest.mark.parametrize(
    ("settings", "quota", "recorded", "answers"),
    [
        # The first batch is written whole, as nobody knows of the hour's other batches before.
        ({"hourly": HourlyQuotas(events=3)}, "events_per_session_hour", 5, ["recorded", "recorded", "quota_exceeded"]),
        ({"quotas": RunQuotas(events=3)}, "events_per_run", 3, ["recorded", "quota_exceeded", "quota_exceeded"]),
    ],
)
def test_callbacks_that_share_a_batch_are_refused_from_the_quota_on(
    settings: dict[str, Any], quota: str, recorded: int, answers: list[str]
) -> None:
    async def scene() -> tuple[World, list[str]]:
        async with world(**settings) as made:
            await made.queued()
            recording = recorder(made)
            together = [reported(recording, deltas(*ids)) for ids in (("a", "b"), ("c", "d", "e"))]
            told = list(await asyncio.gather(*together))
            assert await reported(recording, deltas("d", "e")) == "quota_exceeded"  # a repetition is refused, too
            return made, [*told, await reported(recording, deltas("f"))]

    made, told = run(scene())

    types = made.log.types("run:r")
    assert told == answers
    assert (types.count("message.delta"), types.count("run.quota_exceeded")) == (recorded, 1)
    assert last(made, RunQuotaExceeded).quota == quota

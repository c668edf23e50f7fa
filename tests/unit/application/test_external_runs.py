"""Runs that other programs execute: what they hold, and how those end of which nothing is reported."""

from datetime import timedelta
from typing import Any

from application.ports.run_queue import RunLease
from application.process_managers.commands import ProcessManagerCommands
from application.process_managers.outcomes import SendToSession
from domain.run.commands import CancelRun, ClaimRun, FinishRun
from domain.run.values import Warn
from domain.session.commands import ActivateSession, AttachRun
from tests.support.async_run import run
from tests.support.world_in_memory import World, context, now, until, world
from tests.unit.application.test_schedule import SILENCE, ExternalRuns, reconcilers, run_commands, running

ACTIVATE = ActivateSession(session_id="s", app_id="app", project_name="default", user_login_name="ada")


def test_an_external_run_of_which_nothing_is_reported_ends_and_its_session_is_free_again() -> None:
    async def scene() -> tuple[Any, Any, World]:
        async with world() as made:
            await running(made, "s")
            await run_commands(made).bind("outside", "s", context("bind"))
            await until(made.log, lambda: "session.run_attached" in made.log.types("session:s"))
            found = ExternalRuns("outside", "unknown")
            early = await reconcilers(made, external_runs=found).end_overdue_runs(context("early"))
            assert made.log.types("run:outside") == ["run.bound"]
            later = now() + timedelta(hours=7)
            counts = await reconcilers(made, external_runs=found, clock=lambda: later).end_overdue_runs(
                context("later")
            )
            assert found.asked == [later - timedelta(hours=24), later - SILENCE]
            await made.executions.execute(
                RunLease(run_id="outside", owner="w1", generation=1), retry_delay=made.retry_delay
            )
            await until(made.log, lambda: "session.run_detached" in made.log.types("session:s"))
            return early, counts, made

    early, counts, made = run(scene())

    assert (early.examined, early.failed) == (2, 1)
    assert (counts.examined, counts.acted, counts.failed) == (2, 1, 1)
    assert "outside" in made.queue.waiting
    events: list[Any] = [event.event for event in made.log.of("run:outside")]
    bound, *life, finished = events
    assert (bound.app_id, bound.project_name, bound.user_login_name) == ("app", "default", "ada")
    assert [event.wire_name for event in life][:2] == ["run.timed_out", "run.agent_finished"]
    assert (finished.outcome, finished.exported, finished.error.error_class) == ("failed", True, "timeout")


def test_an_external_run_holds_no_session_that_is_not_known_and_none_after_its_end() -> None:
    attach = SendToSession(command_id="a", run_id="outside", command=AttachRun(run_id="outside", outside=True))

    async def scene() -> list[str]:
        made = World()  # nobody reacts in it
        commands = ProcessManagerCommands(runs=made.runs, sessions=made.sessions, store=made.log, clock=now)
        await run_commands(made).bind("outside", "s", context("bind"))
        await commands.send(attach, context("unknown session"))
        await made.runs.handle("outside", CancelRun(), context("cancel"))
        steps: list[tuple[Any, str]] = [
            (ClaimRun(lease_generation=1, owner="w"), ""),
            (FinishRun(lease_generation=1, retry_at=now(), warning=Warn(code="x", message="y")), ""),
        ]
        await made.runs.handle_batch("outside", steps, context("finished"))
        await made.sessions.handle("s", ACTIVATE, context("activate"))
        await commands.send(attach, context("ended run"))
        return made.log.types("session:s")

    assert run(scene()) == ["session.activation_requested"]

"""Syncs by effect, on a control plane in memory: what becomes of them when their executor is not there."""

from collections.abc import Callable
from typing import Any

from application.effects.workspaces import SyncWorkspace
from application.ports.effect_handler import EffectFailed
from application.ports.effect_ledger import ClaimedEffect
from application.ports.object_store import ObjectStoreUnavailable
from application.sessions.workspace_syncs import WorkspaceSyncs
from domain.session.commands import ActivateSession, RequestSync, StopSession
from domain.session.events import ContainerStarted
from tests.support.async_run import run
from tests.support.executor_in_memory import executor_error
from tests.support.world_in_memory import World, context, until, world

ACTIVATE = ActivateSession(session_id="s", app_id="app", project_name="", user_login_name="ada")


def session_log(prepare: Callable[[World], object], command: Any, end: str) -> list[Any]:
    """The events of session `s` after its activation, from `command` to the first of type `end`."""

    async def scene() -> list[Any]:
        async with world() as made:
            await made.sessions.handle("s", ACTIVATE, context("activate"))
            await until(made.log, lambda: "session.activated" in made.log.types("session:s"))
            seen = len(made.log.of("session:s"))
            prepare(made)
            made.executor(session_id="s").boot_id = "the next one"
            await made.sessions.handle("s", command, context("command"))
            await until(made.log, lambda: end in made.log.types("session:s")[seen:])
            return [event.event for event in made.log.of("session:s")[seen:]]

    return run(scene())


def types(events: list[Any]) -> list[str]:
    return [event.wire_name for event in events]


def test_an_executor_that_has_ended_is_started_again_before_the_gate_sync_and_nothing_fails() -> None:
    stop = StopSession(reason="idle", sync_id="gate")
    events = session_log(lambda made: made.runtime.ended.add("s"), stop, "session.stopping")

    assert types(events)[:4] == [
        "session.stop_requested",
        "session.container_started",
        "session.synced",
        "session.stopping",
    ]
    (revival,) = [event for event in events if isinstance(event, ContainerStarted)]
    assert (revival.purpose, revival.exit_log) == ("revival", "ending: idle")


def test_where_another_program_answers_for_the_executor_the_sync_fails_and_it_is_started_again() -> None:
    def another_answers(made: World) -> None:
        made.executor(session_id="s").troubles["sync"] = [executor_error("unauthorized", status=401)]

    sync = RequestSync(sync_id="one", reason="manual")
    events = session_log(another_answers, sync, "session.container_started")

    assert types(events)[1:3] == ["session.sync_failed", "session.container_started"]


def flushed_sync(command: Any, flush: Callable[[], None]) -> tuple[list[str], list[Any]]:
    """What the sync that `command` asks for does in order, on a store that `flush` makes durable; and its events."""
    done: list[str] = []

    async def flush_store() -> None:
        done.append("flushed")
        flush()

    async def scene() -> list[Any]:
        async with world() as made:
            await made.sessions.handle("s", ACTIVATE, context("activate"))
            await until(made.log, lambda: "session.activated" in made.log.types("session:s"))
            seen = len(made.log.of("session:s"))
            made.left.add("workspace.sync")
            await made.sessions.handle("s", command, context("command"))
            syncs = WorkspaceSyncs(made.workers, first_after_s=None, flush_store=flush_store)
            effect = ClaimedEffect(
                effect_id="e",
                kind="workspace.sync",
                params={"sessionId": "s", "generation": 1, "syncId": command.sync_id},
                attempt=1,
                last_attempt=False,
                actor="test",
                correlation_id="c",
                causation_id="c",
            )
            try:
                await SyncWorkspace(made.workers, syncs).perform(effect)
            except EffectFailed:
                done.append("to be tried again")
            return [event.event for event in made.log.of("session:s")[seen:]]

    return done, run(scene())


def test_a_gate_sync_is_recorded_once_its_content_is_durable_and_no_other_sync_waits_for_that() -> None:
    done, events = flushed_sync(StopSession(reason="idle", sync_id="gate"), lambda: None)
    assert (done, types(events)[:2]) == (["flushed"], ["session.stop_requested", "session.synced"])

    done, events = flushed_sync(RequestSync(sync_id="one", reason="manual"), lambda: None)
    assert (done, types(events)) == ([], ["session.sync_requested", "session.synced"])


def test_a_gate_sync_whose_content_can_not_be_made_durable_fails_and_is_tried_again() -> None:
    def full() -> None:
        raise ObjectStoreUnavailable("the disk is stuck")

    done, events = flushed_sync(StopSession(reason="idle", sync_id="gate"), full)

    assert done == ["flushed", "to be tried again"]
    assert types(events) == ["session.stop_requested", "session.sync_failed"]
    assert (events[-1].error, events[-1].final) == ("the disk is stuck", False)

"""Process managers: an event in, wanted effects and queue moves out."""

from datetime import UTC, datetime

import pytest

from application.process_managers.session_life import SYNC_GRACE
from application.process_managers.table import PROCESS_MANAGERS, react, wire_names
from application.reactions import (
    DequeueRun,
    EffectKind,
    EffectNotNeeded,
    EnqueueFinish,
    EnqueueRun,
    MoveWorkerPlace,
    PostponeRun,
    WantedEffect,
)
from domain.event import Event
from domain.record import Metadata, RecordedEvent
from domain.run import events as run
from domain.run.values import Message, RunError, RunSpec
from domain.session import events as session
from domain.workspace.plan import RestorePlan
from domain.workspace.sync import SyncRef

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PLAN = RestorePlan(layers=())
SPEC = RunSpec(
    session_id="s1", user_login_name="ada", provider="scripted", messages=(Message(role="user", content="x"),)
)


def recorded(stream: str, event: Event, seq: int = 7) -> RecordedEvent:
    return RecordedEvent(
        position=41,
        stream=stream,
        seq=seq,
        event_id="e",
        event=event,
        occurred_at=NOW,
        recorded_at=NOW,
        metadata=Metadata(actor="ada", correlation_id="c"),
    )


def activation(kind: session.ActivationKind) -> session.ActivationRequested:
    return session.ActivationRequested(
        generation=3, kind=kind, app_id="a", project_name="p", user_login_name="ada", workspace_prefix="w", plan=PLAN
    )


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (activation("create"), "container.create"),
        (activation("start"), "container.start"),
        (session.ContainerCreated(generation=3, container_id="c", runtime="process", daemon_id="d"), "container.start"),
        (session.ContainerStarted(generation=3, boot_id="b", url="u"), "workspace.restore"),
        (session.ContainerStarted(generation=3, boot_id="b", url="u", restored=True), "agent_data.link"),
        (
            session.ContainerStarted(generation=3, boot_id="b", url="u", purpose="maintenance", restored=True),
            "workspace.sync_before_remove",
        ),
        (session.WorkspaceRestored(generation=3), "agent_data.link"),
        (session.AgentDataLinked(generation=3), "workspace.validate"),
        (session.ActivationFailed(generation=3, step="restore", error="e", discard=True), "container.remove"),
        (session.ActivationFailed(generation=3, step="start", error="e"), "container.stop"),
        (session.SessionStopping(generation=3, reason="idle"), "container.stop"),
        (session.RemoveRequested(generation=3, sync_id="r"), "container.start_maintenance"),
        (session.RemoveCanceled(generation=3, reason="activated", in_maintenance=True), "container.stop"),
        (session.SessionRemoving(generation=3), "container.remove"),
    ],
)
def test_each_step_of_a_sessions_life_wants_the_next_effect(event: Event, kind: EffectKind) -> None:
    reactions = react(recorded("session:s1", event))
    (wanted,) = [reaction for reaction in reactions if not isinstance(reaction, MoveWorkerPlace)]

    assert wanted == WantedEffect(
        effect_id=f"{kind}/session:s1/7", kind=kind, lane="session:s1", params={"sessionId": "s1", "generation": 3}
    )


@pytest.mark.parametrize(
    ("event", "to"),
    [
        (activation("create"), "wanted"),
        (activation("start"), "wanted"),
        (session.SessionActivated(generation=3, action="started"), "up"),
        (session.ActivationFailed(generation=3, step="start", error="e"), "up"),
        (session.SessionStopped(generation=3), "free"),
        (session.SessionRemoved(generation=3), "free"),
        (session.ContainerLost(generation=3, detail="d"), "free"),
    ],
)
def test_a_worker_has_a_place_from_its_activation_until_its_container_is_down(event: Event, to: str) -> None:
    places = [move for move in react(recorded("session:s1", event)) if isinstance(move, MoveWorkerPlace)]

    assert places == [MoveWorkerPlace(lane="session:s1", to=to)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "event",
    [
        session.SyncRequested(generation=3, sync_id="y", reason="manual"),
        session.StopRequested(generation=3, reason="idle", sync_id="y"),
    ],
)
def test_a_requested_sync_and_the_gate_of_a_stop_want_a_sync_of_that_id(event: Event) -> None:
    (wanted,) = react(recorded("session:s1", event))

    assert isinstance(wanted, WantedEffect)
    assert wanted.kind == "workspace.sync"
    assert wanted.params["syncId"] == "y"


@pytest.mark.parametrize(
    "event",
    [
        session.ContainerStarted(generation=3, boot_id="b", url="u", purpose="revival"),
        session.RemoveRequested(generation=3, sync_id="r", never_restored=True),
        session.RemoveCanceled(generation=3, reason="activated"),
    ],
)
def test_events_that_need_nothing_want_nothing(event: Event) -> None:
    assert react(recorded("session:s1", event)) == ()


def test_a_queued_run_enters_the_queue_of_its_session() -> None:
    assert react(recorded("run:r1", run.RunQueued(spec=SPEC))) == (
        EnqueueRun(run_id="r1", session_id="s1", max_attempts=5),
    )


def test_message_stop_wants_an_incremental_sync_with_an_id_of_its_own() -> None:
    (wanted,) = react(recorded("run:r1", run.MessageStopped()))

    assert isinstance(wanted, WantedEffect)
    assert (wanted.kind, wanted.lane) == ("session.request_sync", "run:r1")
    assert wanted.params == {"runId": "r1", "syncId": "run:r1/7"}


def test_an_accepted_reply_is_to_be_delivered() -> None:
    (wanted,) = react(recorded("run:r1", run.HumanLoopReplyAccepted(question_id="q", answer="yes")))

    assert isinstance(wanted, WantedEffect)
    assert wanted.kind == "human_loop.deliver_reply"
    assert wanted.params["answer"] == "yes"


def test_only_an_end_reported_from_outside_needs_somebody_to_finish_the_run() -> None:
    assert react(recorded("run:r1", run.RunAgentFinished(outcome="succeeded"))) == (EnqueueFinish(run_id="r1"),)
    assert react(recorded("run:r1", run.RunAgentFinished(outcome="succeeded", lease_generation=2))) == ()


def test_a_scheduled_retry_postpones_the_run_and_lets_go_of_its_session() -> None:
    event = run.RunRetryScheduled(attempt=1, error=RunError(error_class="environment", message="m"), available_at=NOW)

    postponed, detach = react(recorded("run:r1", event))

    assert postponed == PostponeRun(run_id="r1", available_at=NOW)
    assert isinstance(detach, WantedEffect)
    assert detach.kind == "session.detach_run"


def test_a_finished_run_leaves_the_queue_and_its_session() -> None:
    dequeued, detach = react(recorded("run:r1", run.RunFinished(outcome="failed", exported=False)))

    assert dequeued == DequeueRun(run_id="r1")
    assert isinstance(detach, WantedEffect)
    assert detach.kind == "session.detach_run"


def test_a_run_that_has_let_go_of_its_session_needs_nobody_to_do_it() -> None:
    event = session.SessionRunDetached(generation=1, detached_run_id="r1")

    assert react(recorded("session:s1", event)) == (EffectNotNeeded(kind="session.detach_run", lane="run:r1"),)


def test_a_final_sync_waits_a_moment_for_who_executes_the_run_to_do_it() -> None:
    requested = session.SyncRequested(generation=3, sync_id="y", reason="run.finished", for_run_id="r1")
    synced = session.SessionSynced(
        generation=3, sync_id="y", reason="run.finished", sync=SyncRef(manifest_key="k", manifest_hash="h")
    )

    (wanted,) = react(recorded("session:s1", requested))

    assert isinstance(wanted, WantedEffect)
    assert (wanted.kind, wanted.params["syncId"], wanted.delay) == ("workspace.sync", "y", SYNC_GRACE)
    assert react(recorded("session:s1", synced)) == (
        EffectNotNeeded(kind="workspace.sync", lane="session:s1", sync_id="y"),
    )


def test_any_other_sync_is_the_effect_workers_alone() -> None:
    synced = session.SessionSynced(
        generation=3, sync_id="y", reason="manual", sync=SyncRef(manifest_key="k", manifest_hash="h")
    )

    assert react(recorded("session:s1", synced)) == ()


def test_reacting_twice_wants_the_same_effect_ids() -> None:
    event = recorded("session:s1", activation("create"))

    assert react(event) == react(event)


def test_no_event_is_of_interest_to_two_process_managers() -> None:
    waited_for = [name for manager in PROCESS_MANAGERS for name in wire_names(manager)]

    assert len(waited_for) == len(set(waited_for))
    assert set(waited_for) == {e.wire_name for managers in PROCESS_MANAGERS.values() for e in managers}

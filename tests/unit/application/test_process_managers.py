"""Process managers: an event in; commands, wanted effects and moves of the queue out."""

from datetime import UTC, datetime

import pytest

from application.ports.effect_kinds import EffectKind
from application.process_managers.outcomes import (
    DequeueRun,
    EffectNotNeeded,
    EnqueueFinish,
    EnqueueRun,
    MoveWorkerSlot,
    ParkRun,
    PostponeRun,
    RunDetached,
    SendToSession,
    WakeRun,
    WakeRunsOf,
    WantedEffect,
)
from application.process_managers.session_life import SYNC_GRACE
from application.process_managers.table import PROCESS_MANAGERS, outcomes_of, wire_names
from domain.event import Event
from domain.record import RecordedEvent
from domain.run import events as run
from domain.run.queue_share import QueueShare
from domain.run.values import Message, RunError, RunSpec
from domain.session import events as session
from domain.session.commands import AttachRun, DetachRun, RequestSync
from domain.workspace.plan import RestorePlan
from domain.workspace.sync import SyncRef
from tests.support.recorded import recorded

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PLAN = RestorePlan(layers=())
SPEC = RunSpec(
    session_id="s1", user_login_name="ada", provider="scripted", messages=(Message(role="user", content="x"),)
)


def logged(stream: str, event: Event) -> RecordedEvent:
    (event_as_recorded,) = recorded(stream, [event], first_position=41, first_seq=7)
    return event_as_recorded


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
    outcomes = outcomes_of(logged("session:s1", event))
    (wanted,) = [outcome for outcome in outcomes if not isinstance(outcome, MoveWorkerSlot | WakeRunsOf)]

    assert wanted == WantedEffect(
        effect_id=f"{kind}/session:s1/7", kind=kind, key="session:s1", params={"sessionId": "s1", "generation": 3}
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
def test_a_worker_has_a_slot_from_its_activation_until_its_container_is_down(event: Event, to: str) -> None:
    moves = [move for move in outcomes_of(logged("session:s1", event)) if isinstance(move, MoveWorkerSlot)]

    assert moves == [MoveWorkerSlot(key="session:s1", to=to)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "event",
    [
        session.SyncRequested(generation=3, sync_id="y", reason="manual"),
        session.StopRequested(generation=3, reason="idle", sync_id="y"),
    ],
)
def test_a_requested_sync_and_the_gate_of_a_stop_want_a_sync_of_that_id(event: Event) -> None:
    (wanted,) = outcomes_of(logged("session:s1", event))

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
    assert outcomes_of(logged("session:s1", event)) == ()


def test_a_queued_run_enters_the_queue_of_its_session() -> None:
    assert outcomes_of(logged("run:r1", run.RunQueued(spec=SPEC))) == (
        EnqueueRun(
            run_id="r1",
            session_id="s1",
            max_attempts=5,
            share=QueueShare(priority="normal", app_id="default", project_name="default", user_login_name="ada"),
        ),
    )


def test_message_stop_requests_an_incremental_sync_of_the_session_with_an_id_of_its_own() -> None:
    assert outcomes_of(logged("run:r1", run.MessageStopped())) == (
        SendToSession(
            command_id="session.request_sync/run:r1/7:requested",
            run_id="r1",
            command=RequestSync(sync_id="run:r1/7", reason="message.stop", run_id="r1"),
        ),
    )


def test_an_accepted_reply_is_to_be_delivered() -> None:
    wanted, _wake = outcomes_of(logged("run:r1", run.HumanLoopReplyAccepted(question_id="q", answer="yes")))

    assert isinstance(wanted, WantedEffect)
    assert wanted.kind == "human_loop.deliver_reply"
    assert wanted.params["answer"] == "yes"


def test_only_an_end_reported_from_outside_needs_somebody_to_finish_the_run() -> None:
    assert outcomes_of(logged("run:r1", run.RunAgentFinished(outcome="succeeded"))) == (
        EnqueueFinish(run_id="r1"),
        WakeRun(run_id="r1", ends=True),
    )
    assert outcomes_of(logged("run:r1", run.RunAgentFinished(outcome="succeeded", lease_generation=2))) == ()


def test_a_parked_run_is_parked_in_the_queue_for_the_lease_that_let_go_of_it() -> None:
    event = run.RunParked(lease_generation=3, waits_for="person", until=NOW)

    assert outcomes_of(logged("run:r1", event)) == (
        ParkRun(run_id="r1", lease_generation=3, waits_for="person", until=NOW),
    )


@pytest.mark.parametrize(
    ("event", "ends"),
    [
        (run.HumanLoopReplyAccepted(question_id="q", answer="yes"), False),
        (run.HumanLoopResolved(question_id="q"), False),
        (run.HumanLoopCanceled(question_id="q", reason="r"), False),
        (run.HumanLoopExpired(question_id="q", reason="the answer could not be delivered"), False),
        (run.HumanLoopExpired(question_id="q", reason="timeout"), True),
        (run.RunCancelRequested(), True),
        (run.RunAborted(error=RunError(error_class="environment", message="m")), True),
        (run.RunQuotaExceeded(quota="events_per_session_hour", limit=1, reached=2), True),
        (run.RunAgentFinished(outcome="succeeded"), True),
    ],
)
def test_what_a_run_waits_for_or_what_ends_it_wakes_it(event: Event, ends: bool) -> None:
    assert WakeRun(run_id="r1", ends=ends) in outcomes_of(logged("run:r1", event))


DETACH = SendToSession(command_id="session.detach_run/run:r1/7:detached", run_id="r1", command=DetachRun(run_id="r1"))


def test_a_scheduled_retry_postpones_the_run_and_detaches_it_from_its_session() -> None:
    event = run.RunRetryScheduled(attempt=1, error=RunError(error_class="environment", message="m"), available_at=NOW)

    assert outcomes_of(logged("run:r1", event)) == (PostponeRun(run_id="r1", available_at=NOW), DETACH)


def test_a_finished_run_leaves_the_queue_and_is_detached_from_its_session() -> None:
    event = run.RunFinished(outcome="failed", exported=False)

    assert outcomes_of(logged("run:r1", event)) == (DequeueRun(run_id="r1"), DETACH)


def test_a_run_that_is_detached_needs_no_command_to_do_so() -> None:
    event = session.SessionRunDetached(generation=1, detached_run_id="r1")

    assert RunDetached(run_id="r1") in outcomes_of(logged("session:s1", event))


@pytest.mark.parametrize(
    "event",
    [
        session.SessionActivated(generation=3, action="started"),
        session.ActivationFailed(generation=3, step="start", error="e"),
        session.ContainerLost(generation=3, detail="d"),
        session.SessionRunDetached(generation=1, detached_run_id="r1"),
    ],
    ids=lambda event: event.wire_name,
)
def test_what_a_session_can_do_or_never_will_wakes_the_runs_that_wait_for_it(event: Event) -> None:
    assert WakeRunsOf(session_id="s1") in outcomes_of(logged("session:s1", event))


def test_a_final_sync_waits_a_moment_for_who_executes_the_run_to_do_it() -> None:
    requested = session.SyncRequested(generation=3, sync_id="y", reason="run.finished", for_run_id="r1")
    synced = session.SessionSynced(
        generation=3, sync_id="y", reason="run.finished", sync=SyncRef(manifest_key="k", manifest_hash="h")
    )

    (wanted,) = outcomes_of(logged("session:s1", requested))

    assert isinstance(wanted, WantedEffect)
    assert (wanted.kind, wanted.params["syncId"], wanted.delay) == ("workspace.sync", "y", SYNC_GRACE)
    assert outcomes_of(logged("session:s1", synced)) == (
        EffectNotNeeded(kind="workspace.sync", key="session:s1", sync_id="y"),
    )


def test_any_other_sync_is_the_effect_workers_alone() -> None:
    synced = session.SessionSynced(
        generation=3, sync_id="y", reason="manual", sync=SyncRef(manifest_key="k", manifest_hash="h")
    )

    assert outcomes_of(logged("session:s1", synced)) == ()


@pytest.mark.parametrize(
    "event",
    [logged("session:s1", activation("create")), logged("run:r1", run.MessageStopped())],
    ids=["an effect", "a command"],
)
def test_the_same_event_again_leads_to_the_same_ids(event: RecordedEvent) -> None:
    assert outcomes_of(event) == outcomes_of(event)


def test_no_event_is_of_interest_to_two_process_managers() -> None:
    waited_for = [name for manager in PROCESS_MANAGERS for name in wire_names(manager)]

    assert len(waited_for) == len(set(waited_for))
    assert set(waited_for) == {e.wire_name for managers in PROCESS_MANAGERS.values() for e in managers}


def test_an_external_run_is_attached_to_its_session_as_soon_as_it_is_bound() -> None:
    assert outcomes_of(logged("run:r1", run.RunBound(bound_session_id="s1"))) == (
        SendToSession(
            command_id="session.attach_run/run:r1/7:attached",
            run_id="r1",
            command=AttachRun(run_id="r1", outside=True),
        ),
    )

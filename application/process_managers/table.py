"""The table of process managers: which function an event is given to."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from application.process_managers import operator_decisions, run_life, session_life
from application.process_managers.outcomes import Outcome
from domain.event import Event
from domain.operations import events as operations
from domain.record import RecordedEvent
from domain.run import events as run
from domain.session import events as session

ProcessManager = Callable[[RecordedEvent, Any], Sequence[Outcome]]

SESSION_LIFE: Mapping[type[Event], ProcessManager] = {
    session.ActivationRequested: session_life.create_or_start_container_on_activation_requested,
    session.ContainerCreated: session_life.start_container_on_created,
    session.ContainerStarted: session_life.go_on_with_workspace_on_started,
    session.WorkspaceRestored: session_life.link_agent_data_on_restored,
    session.AgentDataLinked: session_life.validate_workspace_on_linked,
    session.SessionActivated: session_life.end_start_on_activated,
    session.ActivationFailed: session_life.take_container_down_on_activation_failed,
    session.SessionRunDetached: session_life.skip_detach_command_on_detached,
    session.SyncRequested: session_life.sync_workspace_on_sync_requested,
    session.SessionSynced: session_life.cancel_final_sync_on_synced,
    session.StopRequested: session_life.sync_workspace_on_stop_requested,
    session.CollectionRequested: session_life.collect_content_on_collection_requested,
    session.SessionForked: session_life.copy_workspace_on_forked,
    session.SessionStopping: session_life.stop_container_on_stopping,
    session.RemoveRequested: session_life.start_maintenance_on_remove_requested,
    session.RemoveCanceled: session_life.stop_container_on_remove_canceled,
    session.SessionRemoving: session_life.remove_container_on_removing,
    session.SessionStopped: session_life.free_slot_on_down,
    session.SessionRemoved: session_life.free_slot_on_down,
    session.ContainerLost: session_life.free_slot_on_lost,
}
RUN_LIFE: Mapping[type[Event], ProcessManager] = {
    run.RunQueued: run_life.enqueue_run_on_queued,
    run.RunBound: run_life.attach_external_run_on_bound,
    run.MessageStopped: run_life.sync_workspace_on_message_stop,
    run.RunParked: run_life.park_run_on_parked,
    run.HumanLoopReplyAccepted: run_life.deliver_reply_on_accepted,
    run.HumanLoopResolved: run_life.wake_run_on_question_closed,
    run.HumanLoopCanceled: run_life.wake_run_on_question_closed,
    run.HumanLoopExpired: run_life.wake_run_on_question_expired,
    run.RunCancelRequested: run_life.wake_run_on_cancel_requested,
    run.RunAborted: run_life.wake_run_on_aborted,
    run.RunQuotaExceeded: run_life.wake_run_on_aborted,
    run.RunAgentFinished: run_life.finish_external_run_on_agent_finished,
    run.RunRetryScheduled: run_life.postpone_and_detach_on_retry_scheduled,
    run.RunFinished: run_life.dequeue_and_detach_on_finished,
}
OPERATOR_DECISIONS: Mapping[type[Event], ProcessManager] = {
    operations.EffectRetryRequested: operator_decisions.retry_effect_on_retry_requested,
    operations.EffectDropped: operator_decisions.drop_effect_on_dropped,
    operations.QueueResumed: operator_decisions.wake_run_workers_on_resumed,
}

PROCESS_MANAGERS: Mapping[str, Mapping[type[Event], ProcessManager]] = {
    "session_life": SESSION_LIFE,
    "run_life": RUN_LIFE,
    "work_control": OPERATOR_DECISIONS,
}
"""By name, which is stored data. Each has a checkpoint of its own: an event that one of them can't take stops that one
alone."""


def wire_names(name: str) -> tuple[str, ...]:
    """The wire names of the events that a process manager handles."""
    return tuple(sorted(event_type.wire_name for event_type in PROCESS_MANAGERS[name]))


def outcomes_of(recorded: RecordedEvent) -> Sequence[Outcome]:
    """The outcomes of an event. At most one process manager handles each event type."""
    for managers in PROCESS_MANAGERS.values():
        manager = managers.get(type(recorded.event))
        if manager is not None:
            return manager(recorded, recorded.event)
    return ()

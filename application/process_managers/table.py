"""The table of contents: which process managers an event wakes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from application.process_managers import run_life, session_life, work_control
from application.reactions import Reaction
from domain.event import Event
from domain.operations import events as operations
from domain.record import RecordedEvent
from domain.run import events as run
from domain.session import events as session

ProcessManager = Callable[[RecordedEvent, Any], Sequence[Reaction]]

SESSION_LIFE: Mapping[type[Event], ProcessManager] = {
    session.ActivationRequested: session_life.create_or_start_container_on_activation_requested,
    session.ContainerCreated: session_life.start_container_on_created,
    session.ContainerStarted: session_life.go_on_with_workspace_on_started,
    session.WorkspaceRestored: session_life.link_agent_data_on_restored,
    session.AgentDataLinked: session_life.validate_workspace_on_linked,
    session.SessionActivated: session_life.end_start_on_activated,
    session.ActivationFailed: session_life.take_container_down_on_activation_failed,
    session.SessionRunDetached: session_life.spare_detaching_on_detached,
    session.SyncRequested: session_life.sync_workspace_on_sync_requested,
    session.SessionSynced: session_life.spare_final_sync_on_synced,
    session.StopRequested: session_life.sync_workspace_on_stop_requested,
    session.CollectionRequested: session_life.collect_content_on_collection_requested,
    session.SessionForked: session_life.copy_workspace_on_forked,
    session.SessionStopping: session_life.stop_container_on_stopping,
    session.RemoveRequested: session_life.start_maintenance_on_remove_requested,
    session.RemoveCanceled: session_life.stop_container_on_remove_canceled,
    session.SessionRemoving: session_life.remove_container_on_removing,
    session.SessionStopped: session_life.free_place_on_down,
    session.SessionRemoved: session_life.free_place_on_down,
    session.ContainerLost: session_life.free_place_on_down,
}
RUN_LIFE: Mapping[type[Event], ProcessManager] = {
    run.RunQueued: run_life.enqueue_run_on_queued,
    run.MessageStopped: run_life.sync_workspace_on_message_stop,
    run.HumanLoopReplyAccepted: run_life.deliver_reply_on_accepted,
    run.RunAgentFinished: run_life.finish_outside_run_on_agent_finished,
    run.RunRetryScheduled: run_life.postpone_and_detach_on_retry_scheduled,
    run.RunFinished: run_life.dequeue_and_detach_on_finished,
}
WORK_CONTROL: Mapping[type[Event], ProcessManager] = {
    operations.EffectRetryRequested: work_control.try_effect_again_on_retry_requested,
    operations.EffectDropped: work_control.drop_effect_on_dropped,
    operations.QueueResumed: work_control.look_at_queue_on_resumed,
}

PROCESS_MANAGERS: Mapping[str, Mapping[type[Event], ProcessManager]] = {
    "session_life": SESSION_LIFE,
    "run_life": RUN_LIFE,
    "work_control": WORK_CONTROL,
}
"""By name. Each has a checkpoint of its own: an event that one of them can't take stops that one alone."""


def wire_names(name: str) -> tuple[str, ...]:
    """The events that a process manager waits for."""
    return tuple(sorted(event_type.wire_name for event_type in PROCESS_MANAGERS[name]))


def react(recorded: RecordedEvent) -> Sequence[Reaction]:
    """All that an event makes wanted. No event is of interest to more than one process manager."""
    for managers in PROCESS_MANAGERS.values():
        manager = managers.get(type(recorded.event))
        if manager is not None:
            return manager(recorded, recorded.event)
    return ()

"""How a session worker's events lead to the next effect on its container and workspace."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal

from application.ports.effect_kinds import BEFORE_STOP, EffectKind
from application.process_managers.outcomes import (
    EffectNotNeeded,
    MoveWorkerSlot,
    Outcome,
    RunDetached,
    WakeRunsOf,
    WantedEffect,
    wanted_effect,
)
from domain.record import RecordedEvent
from domain.session import events as e


def _wanted(
    recorded: RecordedEvent, kind: EffectKind, *, delay: timedelta = timedelta(), **params: Any
) -> tuple[WantedEffect]:
    session_id = recorded.stream.removeprefix("session:")
    generation = getattr(recorded.event, "generation", 0)
    return (wanted_effect(recorded, kind, delay=delay, sessionId=session_id, generation=generation, **params),)


def _slot(recorded: RecordedEvent, to: Literal["wanted", "up", "free"]) -> tuple[MoveWorkerSlot]:
    return (MoveWorkerSlot(key=recorded.stream, to=to),)


def _wake(recorded: RecordedEvent) -> tuple[WakeRunsOf]:
    return (WakeRunsOf(session_id=recorded.stream.removeprefix("session:")),)


def create_or_start_container_on_activation_requested(
    recorded: RecordedEvent, event: e.ActivationRequested
) -> Sequence[Outcome]:
    kind: EffectKind = "container.create" if event.kind == "create" else "container.start"
    return (*_slot(recorded, "wanted"), *_wanted(recorded, kind))


def start_container_on_created(recorded: RecordedEvent, _event: e.ContainerCreated) -> Sequence[Outcome]:
    return _wanted(recorded, "container.start")


def go_on_with_workspace_on_started(recorded: RecordedEvent, event: e.ContainerStarted) -> Sequence[Outcome]:
    match event.purpose:
        case "revival":
            return ()
        case "maintenance":
            return _wanted(recorded, "workspace.sync_before_remove")
        case "activation":
            return _wanted(recorded, "agent_data.link" if event.restored else "workspace.restore")


def link_agent_data_on_restored(recorded: RecordedEvent, _event: e.WorkspaceRestored) -> Sequence[Outcome]:
    return _wanted(recorded, "agent_data.link")


def validate_workspace_on_linked(recorded: RecordedEvent, _event: e.AgentDataLinked) -> Sequence[Outcome]:
    return _wanted(recorded, "workspace.validate")


def take_container_down_on_activation_failed(recorded: RecordedEvent, event: e.ActivationFailed) -> Sequence[Outcome]:
    kind: EffectKind = "container.remove" if event.discard else "container.stop"
    return (*_slot(recorded, "up"), *_wake(recorded), *_wanted(recorded, kind))


def end_start_on_activated(recorded: RecordedEvent, _event: e.SessionActivated) -> Sequence[Outcome]:
    return (*_slot(recorded, "up"), *_wake(recorded))


def free_slot_on_down(recorded: RecordedEvent, _event: e.SessionStopped | e.SessionRemoved) -> Sequence[Outcome]:
    return _slot(recorded, "free")


def free_slot_on_lost(recorded: RecordedEvent, _event: e.ContainerLost) -> Sequence[Outcome]:
    return (*_slot(recorded, "free"), *_wake(recorded))


def skip_detach_command_on_detached(recorded: RecordedEvent, event: e.SessionRunDetached) -> Sequence[Outcome]:
    return (RunDetached(run_id=event.detached_run_id), *_wake(recorded))


SYNC_GRACE = timedelta(seconds=5)
"""The run worker does a run's final sync at once; the effect is for when it has died or failed."""


def sync_workspace_on_sync_requested(recorded: RecordedEvent, event: e.SyncRequested) -> Sequence[Outcome]:
    delay = SYNC_GRACE if event.reason == "run.finished" else timedelta()
    return _wanted(recorded, "workspace.sync", delay=delay, syncId=event.sync_id)


def cancel_final_sync_on_synced(recorded: RecordedEvent, event: e.SessionSynced) -> Sequence[Outcome]:
    if event.reason != "run.finished":
        return ()
    return (EffectNotNeeded(kind="workspace.sync", key=recorded.stream, sync_id=event.sync_id),)


def sync_workspace_on_stop_requested(recorded: RecordedEvent, event: e.StopRequested) -> Sequence[Outcome]:
    of_stop: dict[str, Any] = {"syncId": event.sync_id, BEFORE_STOP: True}
    return _wanted(recorded, "workspace.sync", **of_stop)


def collect_content_on_collection_requested(recorded: RecordedEvent, event: e.CollectionRequested) -> Sequence[Outcome]:
    return _wanted(recorded, "workspace.collect", collectionId=event.collection_id)


def copy_workspace_on_forked(recorded: RecordedEvent, event: e.SessionForked) -> Sequence[Outcome]:
    return () if event.sync is None else _wanted(recorded, "workspace.copy")


def stop_container_on_stopping(recorded: RecordedEvent, _event: e.SessionStopping) -> Sequence[Outcome]:
    return _wanted(recorded, "container.stop")


def start_maintenance_on_remove_requested(recorded: RecordedEvent, event: e.RemoveRequested) -> Sequence[Outcome]:
    return () if event.never_restored else _wanted(recorded, "container.start_maintenance")


def stop_container_on_remove_canceled(recorded: RecordedEvent, event: e.RemoveCanceled) -> Sequence[Outcome]:
    return _wanted(recorded, "container.stop") if event.in_maintenance else ()


def remove_container_on_removing(recorded: RecordedEvent, _event: e.SessionRemoving) -> Sequence[Outcome]:
    return _wanted(recorded, "container.remove")

"""The fold of a session worker's events to its state. It accepts every event in every state: events are facts."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from domain.event import Event
from domain.record import Occurrence
from domain.session import events as e
from domain.session.state import (
    FORK_RUNS_KEPT,
    SETTLED_SYNCS_KEPT,
    Activating,
    Boot,
    Container,
    Deleted,
    Fork,
    PendingRemove,
    PendingRestore,
    PendingStop,
    PendingSync,
    Reactivation,
    Removing,
    Running,
    SessionWorker,
    SettledSync,
    Stopped,
    Stopping,
)
from domain.workspace.plan import build_restore_plan


def evolve(state: SessionWorker | None, occurrence: Occurrence) -> SessionWorker | None:
    """The state after one more event."""
    event, at = occurrence.event, occurrence.occurred_at
    if isinstance(event, e.ActivationRequested):
        return _activation_requested(state, event, at)
    if isinstance(event, e.SessionForked) and state is None:
        return _forked(event, at)
    handler = _HANDLERS.get(type(event))
    if state is None or handler is None:
        return state
    return handler(state, event, at)


def _activation_requested(state: SessionWorker | None, event: e.ActivationRequested, at: datetime) -> SessionWorker:
    if state is None:
        return SessionWorker(
            app_id=event.app_id,
            project_name=event.project_name,
            user_login_name=event.user_login_name,
            workspace_prefix=event.workspace_prefix,
            generation=event.generation,
            lifecycle=Activating(kind=event.kind),
            plan=event.plan,
            manifest=event.manifest,
            last_active_at=at,
            created_at=at,
        )
    state = replace(
        state,
        generation=event.generation,
        lifecycle=Activating(kind=event.kind),
        plan=event.plan,
        manifest=event.manifest,
        last_active_at=at,
        last_error="",
        last_missing_paths=(),
        last_action=None,
    )
    if event.kind == "create":
        return replace(state, container=None, restored=False, ever_active=False, pending_syncs=())
    return state


def _forked(event: e.SessionForked, at: datetime) -> SessionWorker:
    """A fork begins without a container (Deleted): its first activation creates one."""
    return SessionWorker(
        app_id=event.app_id,
        project_name=event.project_name,
        user_login_name=event.user_login_name,
        workspace_prefix=event.workspace_prefix,
        generation=0,
        lifecycle=Deleted(since=at),
        plan=build_restore_plan(
            app_id=event.app_id,
            project_name=event.project_name,
            user_login_name=event.user_login_name,
            session_prefix=event.workspace_prefix,
            manifest=event.manifest,
            session_sync=event.sync,
        ),
        manifest=event.manifest,
        last_sync=event.sync,
        last_active_at=at,
        created_at=at,
        fork=Fork(origin=event.origin, content="none" if event.sync is None else "copying", warnings=event.warnings),
    )


def _workspace_copied(state: SessionWorker, _event: e.WorkspaceCopied, at: datetime) -> SessionWorker:
    if state.fork is None:
        return state
    fork = replace(state.fork, content="copied")
    if state.last_sync_at is not None:
        return replace(state, fork=fork)
    return replace(state, fork=fork, last_sync_at=at, last_sync_status="success")


def _fork_failed(state: SessionWorker, event: e.ForkFailed, _at: datetime) -> SessionWorker:
    if state.fork is None:
        return state
    return replace(state, fork=replace(state.fork, content="failed", error=event.error))


def _reactivation_requested(state: SessionWorker, event: e.ReactivationRequested, at: datetime) -> SessionWorker:
    if isinstance(state.lifecycle, Stopping | Removing):
        state = replace(state, lifecycle=replace(state.lifecycle, reactivation=Reactivation()))
    return replace(state, last_active_at=at, manifest=event.manifest or state.manifest)


def _container_created(state: SessionWorker, event: e.ContainerCreated, _at: datetime) -> SessionWorker:
    return replace(
        state,
        container=Container(container_id=event.container_id, runtime=event.runtime, daemon_id=event.daemon_id),
    )


def _container_started(state: SessionWorker, event: e.ContainerStarted, _at: datetime) -> SessionWorker:
    boot = Boot(boot_id=event.boot_id, url=event.url)
    match state.lifecycle:
        case Activating(kind=kind):
            return replace(state, lifecycle=Activating(kind=kind, boot=boot))
        case Running():
            return replace(state, lifecycle=replace(state.lifecycle, boot=boot))
        case Stopped(remove=PendingRemove() as remove):
            return replace(state, lifecycle=replace(state.lifecycle, remove=replace(remove, boot=boot)))
        case _:
            return state


def _workspace_restored(state: SessionWorker, _event: e.WorkspaceRestored, _at: datetime) -> SessionWorker:
    return replace(state, restored=True)


def _linked(state: SessionWorker, _event: e.AgentDataLinked, _at: datetime) -> SessionWorker:
    if isinstance(state.lifecycle, Activating):
        return replace(state, lifecycle=replace(state.lifecycle, linked=True))
    return state


def _activated(state: SessionWorker, event: e.SessionActivated, at: datetime) -> SessionWorker:
    boot = state.boot or Boot(boot_id="", url="")
    return replace(state, lifecycle=Running(boot=boot), ever_active=True, last_active_at=at, last_action=event.action)


def _activation_failed(state: SessionWorker, event: e.ActivationFailed, at: datetime) -> SessionWorker:
    lifecycle: Removing | Stopping
    lifecycle = Removing(discarded=True) if event.discard else Stopping(reason="activation_failed", stopped_since=at)
    return replace(
        state,
        lifecycle=lifecycle,
        last_error=f"{event.step}: {event.error}",
        last_missing_paths=event.missing_required_paths,
    )


def _touched(state: SessionWorker, event: e.SessionTouched, at: datetime) -> SessionWorker:
    return replace(state, last_active_at=at, manifest=event.manifest or state.manifest)


def _run_attached(state: SessionWorker, event: e.SessionRunAttached, at: datetime) -> SessionWorker:
    run_id, fork = event.attached_run_id, state.fork
    if event.outside:
        return replace(
            state,
            attached_runs=(*state.attached_runs, run_id),
            outside_runs=(*state.outside_runs, run_id),
            last_active_at=at,
        )
    if fork is not None and run_id not in fork.runs and len(fork.runs) < FORK_RUNS_KEPT:
        fork = replace(fork, runs=(*fork.runs, run_id))
    return replace(state, attached_runs=(*state.attached_runs, run_id), last_active_at=at, fork=fork)


def _run_detached(state: SessionWorker, event: e.SessionRunDetached, at: datetime) -> SessionWorker:
    remaining = tuple(run for run in state.attached_runs if run != event.detached_run_id)
    outside = tuple(run for run in state.outside_runs if run != event.detached_run_id)
    return replace(state, attached_runs=remaining, outside_runs=outside, last_active_at=at)


def _sync_requested(state: SessionWorker, event: e.SyncRequested, at: datetime) -> SessionWorker:
    pending = PendingSync(sync_id=event.sync_id, reason=event.reason, run_id=event.for_run_id)
    return replace(
        state,
        pending_syncs=(*state.pending_syncs, pending),
        last_sync_status="running",
        last_active_at=at if event.reason == "message.stop" else state.last_active_at,
    )


def _synced(state: SessionWorker, event: e.SessionSynced, at: datetime) -> SessionWorker:
    return replace(
        state,
        pending_syncs=tuple(sync for sync in state.pending_syncs if sync.sync_id != event.sync_id),
        settled_syncs=_settle(state, SettledSync(sync_id=event.sync_id, sync=event.sync)),
        last_sync=event.sync,
        last_sync_at=at,
        last_sync_status="success",
        last_sync_error="",
        sync_failures=0,
    )


def _sync_failed(state: SessionWorker, event: e.SessionSyncFailed, at: datetime) -> SessionWorker:
    state = replace(state, last_sync_status="failed", last_sync_error=event.error)
    if not event.final:
        return state
    return replace(
        state,
        pending_syncs=tuple(sync for sync in state.pending_syncs if sync.sync_id != event.sync_id),
        settled_syncs=_settle(state, SettledSync(sync_id=event.sync_id, sync=None, error=event.error)),
        sync_failures=state.sync_failures + 1,
        sync_failed_at=at,
    )


def _settle(state: SessionWorker, settled: SettledSync) -> tuple[SettledSync, ...]:
    return (*state.settled_syncs, settled)[-SETTLED_SYNCS_KEPT:]


def _disk_limit_exceeded(state: SessionWorker, event: e.DiskLimitExceeded, _at: datetime) -> SessionWorker:
    return replace(state, disk_stop=event.sync_id)


def _stop_requested(state: SessionWorker, event: e.StopRequested, _at: datetime) -> SessionWorker:
    state = replace(state, disk_stop="")
    if isinstance(state.lifecycle, Running):
        stop = PendingStop(reason=event.reason, sync_id=event.sync_id)
        return replace(state, lifecycle=replace(state.lifecycle, stop=stop), last_sync_status="running")
    return state


def _stop_canceled(state: SessionWorker, _event: e.StopCanceled, _at: datetime) -> SessionWorker:
    if isinstance(state.lifecycle, Running):
        return _sync_settled(replace(state, lifecycle=replace(state.lifecycle, stop=None)))
    return state


def _sync_settled(state: SessionWorker) -> SessionWorker:
    """Replaces the sync status `running` if the sync that it was about is no longer pending."""
    if state.last_sync_status != "running" or state.pending_syncs:
        return state
    known = "failed" if state.last_sync_error else "success" if state.last_sync else "idle"
    return replace(state, last_sync_status=known)


def _stopping(state: SessionWorker, event: e.SessionStopping, _at: datetime) -> SessionWorker:
    return replace(state, lifecycle=Stopping(reason=event.reason))


def _stopped(state: SessionWorker, _event: e.SessionStopped, at: datetime) -> SessionWorker:
    since = at
    if isinstance(state.lifecycle, Stopping) and state.lifecycle.stopped_since is not None:
        since = state.lifecycle.stopped_since
    return replace(state, lifecycle=Stopped(since=since))


def _remove_requested(state: SessionWorker, event: e.RemoveRequested, _at: datetime) -> SessionWorker:
    if isinstance(state.lifecycle, Stopped):
        remove = PendingRemove(sync_id=event.sync_id)
        status = state.last_sync_status if event.never_restored else "running"
        return replace(state, lifecycle=replace(state.lifecycle, remove=remove), last_sync_status=status)
    return state


def _remove_canceled(state: SessionWorker, event: e.RemoveCanceled, _at: datetime) -> SessionWorker:
    if isinstance(state.lifecycle, Stopped):
        since = state.lifecycle.since
        down = Stopping(reason="maintenance", stopped_since=since) if event.in_maintenance else Stopped(since=since)
        return _sync_settled(replace(state, lifecycle=down))
    return state


def _removing(state: SessionWorker, _event: e.SessionRemoving, _at: datetime) -> SessionWorker:
    return replace(state, lifecycle=Removing())


def _gone(state: SessionWorker, _event: e.SessionRemoved | e.ContainerLost, at: datetime) -> SessionWorker:
    state = replace(
        state,
        lifecycle=Deleted(since=at),
        container=None,
        restored=False,
        ever_active=False,
        pending_syncs=(),
        sync_failures=0,
        disk_stop="",
    )
    return _sync_settled(state)


def _restore_requested(state: SessionWorker, event: e.RestoreRequested, _at: datetime) -> SessionWorker:
    restoring = PendingRestore(
        sync=event.sync,
        sync_position=event.sync_position,
        remove_sync_id=event.remove_sync_id,
        reactivate=event.reactivate,
    )
    return replace(state, restoring=restoring, restore_error="")


def _restore_canceled(state: SessionWorker, event: e.RestoreCanceled, _at: datetime) -> SessionWorker:
    return replace(state, restoring=None, restore_error=event.reason)


def _rewound(state: SessionWorker, event: e.WorkspaceRewound, _at: datetime) -> SessionWorker:
    return replace(state, last_sync=event.sync, restoring=None)


def _collection_requested(state: SessionWorker, event: e.CollectionRequested, _at: datetime) -> SessionWorker:
    return replace(state, kept_since=event.kept_since, collection_id=event.collection_id)


def _collection_ended(
    state: SessionWorker, _event: e.ContentCollected | e.CollectionFailed, at: datetime
) -> SessionWorker:
    return replace(state, collection_id="", collected_at=at)


_HANDLERS: dict[type[Event], Callable[[SessionWorker, Any, datetime], SessionWorker]] = {
    e.ReactivationRequested: _reactivation_requested,
    e.ContainerCreated: _container_created,
    e.ContainerStarted: _container_started,
    e.WorkspaceRestored: _workspace_restored,
    e.AgentDataLinked: _linked,
    e.SessionActivated: _activated,
    e.ActivationFailed: _activation_failed,
    e.SessionTouched: _touched,
    e.SessionRunAttached: _run_attached,
    e.SessionRunDetached: _run_detached,
    e.SyncRequested: _sync_requested,
    e.SessionSynced: _synced,
    e.SessionSyncFailed: _sync_failed,
    e.DiskLimitExceeded: _disk_limit_exceeded,
    e.StopRequested: _stop_requested,
    e.StopCanceled: _stop_canceled,
    e.SessionStopping: _stopping,
    e.SessionStopped: _stopped,
    e.RemoveRequested: _remove_requested,
    e.RemoveCanceled: _remove_canceled,
    e.SessionRemoving: _removing,
    e.SessionRemoved: _gone,
    e.ContainerLost: _gone,
    e.RestoreRequested: _restore_requested,
    e.RestoreCanceled: _restore_canceled,
    e.WorkspaceRewound: _rewound,
    e.CollectionRequested: _collection_requested,
    e.ContentCollected: _collection_ended,
    e.CollectionFailed: _collection_ended,
    e.WorkspaceCopied: _workspace_copied,
    e.ForkFailed: _fork_failed,
}

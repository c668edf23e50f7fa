"""The decisions of a session worker, from state and command to events, with the sync gate.

The sync gate: a worker is stopped only from `Running`, with no run attached, after the gate sync of the pending stop
has succeeded; it is removed only from `Stopped`, after the gate sync of the pending removal has succeeded, or when an
operator discards its workspace (discarding.py).
"""

from collections.abc import Callable, Sequence
from typing import Any

from domain.errors import Conflict, Fenced, InvalidInput, NotFound, RunAttached
from domain.event import Event
from domain.session import commands as c
from domain.session import events as e
from domain.session.activation import activate, request_activation
from domain.session.activation_steps import (
    fail_activation,
    failed,
    record_created,
    record_linked,
    record_restored,
    record_started,
    record_validated,
)
from domain.session.collection import fail_collection, record_collected, request_collection
from domain.session.discarding import discard_workspace
from domain.session.forking import fail_fork, fork_session, record_workspace_copied
from domain.session.state import (
    Activating,
    PendingRemove,
    PendingStop,
    PendingSync,
    Removing,
    Running,
    SessionWorker,
    Stopped,
    Stopping,
)
from domain.session.workspace_history import continue_restore, record_orphan, removal, request_restore
from domain.workspace.sync import GATE_REASONS

MAX_OUTSIDE_RUNS = 100
"""External runs attached to one session at a time; each of them holds the worker, so further ones need not."""

MAX_PENDING_SYNCS = 20
"""Of one reason. The syncs of a session are done one after the other, so the last of so many has not begun: it holds
what a further one would hold."""


def decide(state: SessionWorker | None, command: c.SessionCommand) -> Sequence[Event]:
    """The events that `command` leads to in `state`; none when it changes nothing.

    Raises InvalidInput, NotFound, Conflict or Fenced (domain/errors.py).
    """
    if isinstance(command, c.ForkSession):
        return fork_session(state, command)
    if isinstance(command, c.ActivateSession):
        events = activate(state, command)
    elif state is None:
        raise NotFound("no session worker is known under this id; activate it first")
    else:
        generation = getattr(command, "generation", state.generation)
        if generation != state.generation:
            raise Fenced(f"generation {generation} is not the current one, {state.generation}")
        events = _HANDLERS[type(command)](state, command)
    return continue_restore(state, events) if state is not None and state.restoring is not None else events


def _attach_run(state: SessionWorker, command: c.AttachRun) -> Sequence[Event]:
    if command.outside:
        if command.run_id in state.attached_runs or len(state.outside_runs) >= MAX_OUTSIDE_RUNS:
            return ()
    else:
        if not isinstance(state.lifecycle, Running):
            raise Conflict(f"the worker is {state.public_state}, not running", "not_running")
        if command.run_id in state.attached_runs:
            return ()
        if state.executing_runs:
            raise Conflict(f"run {state.executing_runs[0]} is attached to this session", "session_busy")
    attached = e.SessionRunAttached(
        generation=state.generation, attached_run_id=command.run_id, outside=command.outside
    )
    if isinstance(state.lifecycle, Running) and state.lifecycle.stop is not None:
        return (e.StopCanceled(generation=state.generation, reason="run_attached"), attached)
    return (attached,)


def _detach_run(state: SessionWorker, command: c.DetachRun) -> Sequence[Event]:
    if command.run_id not in state.attached_runs:
        return ()
    detached = e.SessionRunDetached(generation=state.generation, detached_run_id=command.run_id)
    is_last = state.attached_runs == (command.run_id,)
    if state.disk_stop and is_last and isinstance(state.lifecycle, Running) and state.lifecycle.stop is None:
        return (detached, _disk_stop(state, state.disk_stop))
    return (detached,)


def _request_sync(state: SessionWorker, command: c.RequestSync) -> Sequence[Event]:
    if command.reason in GATE_REASONS:
        raise InvalidInput("reason", f"{command.reason!r} is the sync gate's own; stop or remove the worker")
    if wanted_sync(state, command.sync_id) is not None:
        return ()
    waiting = sum(sync.reason == command.reason for sync in state.pending_syncs)
    if command.reason == "message.stop" and waiting >= MAX_PENDING_SYNCS:
        return ()
    if command.reason == "manual" and waiting >= MAX_PENDING_SYNCS:
        raise Conflict(f"{waiting} syncs are waiting already, and the last of them will hold it all", "too_many_syncs")
    if not isinstance(state.lifecycle, Running):
        if command.reason == "message.stop":
            return ()
        raise Conflict(f"the worker is {state.public_state}, not running: there is nothing to sync", "not_running")
    requested = e.SyncRequested(
        generation=state.generation, sync_id=command.sync_id, reason=command.reason, for_run_id=command.run_id
    )
    if command.reason == "message.stop" and state.lifecycle.stop and state.lifecycle.stop.reason == "idle":
        return (e.StopCanceled(generation=state.generation, reason="not_idle"), requested)
    return (requested,)


def wanted_sync(state: SessionWorker, sync_id: str) -> PendingSync | None:
    """The pending sync of this id, including gate syncs; None if its result is not awaited (any more)."""
    match state.lifecycle:
        case Running(stop=PendingStop(sync_id=gate)) if gate == sync_id:
            return PendingSync(sync_id=gate, reason="pre.stop")
        case Stopped(remove=PendingRemove(sync_id=gate)) if gate == sync_id:
            return PendingSync(sync_id=gate, reason="pre.remove")
    return next((sync for sync in state.pending_syncs if sync.sync_id == sync_id), None)


def _record_sync_progress(state: SessionWorker, command: c.RecordSyncProgress) -> Sequence[Event]:
    if wanted_sync(state, command.sync_id) is None:
        return ()
    return (
        e.SyncProgressed(
            generation=state.generation,
            sync_id=command.sync_id,
            files=command.files,
            files_done=command.files_done,
            bytes=command.bytes,
            bytes_done=command.bytes_done,
        ),
    )


def _record_synced(state: SessionWorker, command: c.RecordSynced) -> Sequence[Event]:
    wanted = wanted_sync(state, command.sync_id)
    if wanted is None:
        return ()
    synced = e.SessionSynced(
        generation=state.generation,
        sync_id=command.sync_id,
        reason=wanted.reason,
        sync=command.sync,
        unchanged=command.unchanged,
        files=command.files,
        bytes=command.bytes,
        uploaded_files=command.uploaded_files,
        uploaded_bytes=command.uploaded_bytes,
        unstable_paths=command.unstable_paths,
        skipped_paths=command.skipped_paths,
        for_run_id=wanted.run_id,
    )
    also = tuple(
        e.SessionSynced(
            generation=state.generation,
            sync_id=sync.sync_id,
            reason=sync.reason,
            sync=command.sync,
            unchanged=True,
            for_run_id=sync.run_id,
        )
        for sync in _covered(state, wanted)
    )
    match state.lifecycle:
        case Running(stop=PendingStop(sync_id=gate, reason=reason)) if gate == command.sync_id:
            return (synced, *also, e.SessionStopping(generation=state.generation, reason=reason))
        case Stopped(remove=PendingRemove(sync_id=gate)) if gate == command.sync_id:
            return (synced, *also, e.SessionRemoving(generation=state.generation))
        case _:
            return (synced, *also)


def _covered(state: SessionWorker, done: PendingSync) -> tuple[PendingSync, ...]:
    """The other pending syncs that `done` completes: all that were requested before it; for a gate sync, all there are.

    Should results of their own still arrive, they are ignored: they would be older than what is recorded now.
    """
    if done.reason in GATE_REASONS:
        return state.pending_syncs
    return state.pending_syncs[: state.pending_syncs.index(done)]


def _record_sync_failed(state: SessionWorker, command: c.RecordSyncFailed) -> Sequence[Event]:
    wanted = wanted_sync(state, command.sync_id)
    if wanted is None:
        return ()
    sync_failed = e.SessionSyncFailed(
        generation=state.generation,
        sync_id=command.sync_id,
        reason=wanted.reason,
        error=command.error,
        attempt=command.attempt,
        final=command.final,
        for_run_id=wanted.run_id,
    )
    if command.final and wanted.reason == "pre.stop":
        return (sync_failed, e.StopCanceled(generation=state.generation, reason="sync_failed"))
    if command.final and wanted.reason == "pre.remove":
        return (sync_failed, _remove_canceled(state, "sync_failed"))
    return (sync_failed,)


def _stop(state: SessionWorker, command: c.StopSession) -> Sequence[Event]:
    match state.lifecycle:
        case Running(stop=None):
            if state.attached_runs:
                raise RunAttached(f"run {state.attached_runs[0]} is attached; stop it first or wait for its end")
            if command.idle_before is not None and state.last_active_at >= command.idle_before:
                return ()
            return (e.StopRequested(generation=state.generation, reason=command.reason, sync_id=command.sync_id),)
        case Activating():
            raise Conflict("the worker is being activated; stop it when it runs", "activating")
        case _:
            return ()


def _limit_disk(state: SessionWorker, command: c.LimitDisk) -> Sequence[Event]:
    """Once until the worker is stopped. Without a run that is to be ended first, the stop is requested at once."""
    if not isinstance(state.lifecycle, Running) or state.lifecycle.stop is not None or state.disk_stop:
        return ()
    run = state.attached_runs[0] if state.attached_runs else ""
    exceeded = e.DiskLimitExceeded(
        generation=state.generation,
        used_bytes=command.used_bytes,
        limit_bytes=command.limit_bytes,
        sync_id=command.sync_id,
        attached_run_id=run,
    )
    return (exceeded,) if run else (exceeded, _disk_stop(state, command.sync_id))


def _disk_stop(state: SessionWorker, sync_id: str) -> e.StopRequested:
    return e.StopRequested(generation=state.generation, reason="disk_limit", sync_id=sync_id)


def _record_stopped(state: SessionWorker, _command: c.RecordStopped) -> Sequence[Event]:
    if not isinstance(state.lifecycle, Stopping):
        return ()
    stopped = e.SessionStopped(generation=state.generation, reason=state.lifecycle.reason)
    if state.lifecycle.reactivation is None:
        return (stopped,)
    return (stopped, request_activation(state, "start", state.generation, None))


def _remove(state: SessionWorker, command: c.RemoveSession) -> Sequence[Event]:
    match state.lifecycle:
        case Stopped(remove=None, since=since):
            if state.attached_runs:
                raise RunAttached(f"run {state.attached_runs[0]} is attached; its journal is not recorded to its end")
            if command.stopped_before is not None and since >= command.stopped_before:
                return ()
            return removal(state, command.sync_id)
        case Running() | Activating() | Stopping(stopped_since=None):
            raise Conflict(f"the worker is {state.public_state}; it is stopped first", "not_stopped")
        case _:
            return ()


def _cancel_remove(state: SessionWorker, command: c.CancelRemove) -> Sequence[Event]:
    pending = isinstance(state.lifecycle, Stopped) and state.lifecycle.remove is not None
    return (_remove_canceled(state, command.reason),) if pending else ()


def _remove_canceled(state: SessionWorker, reason: str) -> e.RemoveCanceled:
    # The container may have been started in maintenance without a recorded start: it is stopped in any case.
    return e.RemoveCanceled(generation=state.generation, reason=reason, in_maintenance=True)


def _record_removed(state: SessionWorker, _command: c.RecordRemoved) -> Sequence[Event]:
    if not isinstance(state.lifecycle, Removing):
        return ()
    removed = e.SessionRemoved(generation=state.generation, discarded=state.lifecycle.discarded)
    if state.lifecycle.reactivation is None:
        return (removed,)
    return (removed, request_activation(state, "create", state.generation + 1, None))


def _record_lost(state: SessionWorker, command: c.RecordContainerLost) -> Sequence[Event]:
    if state.container is None:
        return ()
    lost = e.ContainerLost(
        generation=state.generation, detail=command.detail, unsynced=isinstance(state.lifecycle, Running)
    )
    match state.lifecycle:
        case Activating(kind="start"):
            return (lost, request_activation(state, "create", state.generation + 1, None))
        case Activating(kind="create") as lifecycle:
            # Not retried automatically: what kills a container during its start would kill the next one, too.
            return (failed(state, lifecycle, "start", f"the container is gone: {command.detail}", None), lost)
        case Stopping(reactivation=reactivation) | Removing(reactivation=reactivation) if reactivation is not None:
            return (lost, request_activation(state, "create", state.generation + 1, None))
        case _:
            return (*_unanswerable(state, command.detail), lost)


def _unanswerable(state: SessionWorker, detail: str) -> tuple[Event, ...]:
    """The final failure of every pending sync of a lost container, so that nobody waits for them in vain."""
    return tuple(
        e.SessionSyncFailed(
            generation=state.generation,
            sync_id=sync.sync_id,
            reason=sync.reason,
            error=f"the container is gone: {detail}",
            attempt=0,
            final=True,
            for_run_id=sync.run_id,
        )
        for sync in state.pending_syncs
    )


_HANDLERS: dict[type, Callable[[SessionWorker, Any], Sequence[Event]]] = {
    c.RecordContainerCreated: record_created,
    c.RecordContainerStarted: record_started,
    c.RecordWorkspaceRestored: record_restored,
    c.RecordAgentDataLinked: record_linked,
    c.RecordWorkspaceValidated: record_validated,
    c.FailActivation: fail_activation,
    c.AttachRun: _attach_run,
    c.DetachRun: _detach_run,
    c.RequestSync: _request_sync,
    c.RecordSyncProgress: _record_sync_progress,
    c.RecordSynced: _record_synced,
    c.RecordSyncFailed: _record_sync_failed,
    c.StopSession: _stop,
    c.LimitDisk: _limit_disk,
    c.RecordStopped: _record_stopped,
    c.RemoveSession: _remove,
    c.CancelRemove: _cancel_remove,
    c.RecordRemoved: _record_removed,
    c.RecordContainerLost: _record_lost,
    c.RecordOrphanRemoved: record_orphan,
    c.DiscardWorkspace: discard_workspace,
    c.RequestRestore: request_restore,
    c.RequestCollection: request_collection,
    c.RecordCollected: record_collected,
    c.FailCollection: fail_collection,
    c.RecordWorkspaceCopied: record_workspace_copied,
    c.FailFork: fail_fork,
}

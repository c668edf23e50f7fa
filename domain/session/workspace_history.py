"""Restoring an earlier sync as a session's workspace, and recording removed orphans.

A restore stops and removes the session worker through its gate syncs, so that the present workspace is synced first and
stays in the history. The append that records the container's end also makes the other sync the workspace. An activation
in between cancels the restore: the worker comes back with the workspace that it had.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from domain.errors import Conflict, InvalidInput, RunAttached
from domain.event import Event
from domain.session import commands as c
from domain.session import events as e
from domain.session.activation import request_activation
from domain.session.collection import check_kept
from domain.session.state import Deleted, PendingRestore, Removing, Running, SessionWorker, Stopped


def request_restore(state: SessionWorker, command: c.RequestRestore) -> Sequence[Event]:
    """Raises InvalidInput for another session's sync, and Conflict while a run is attached, while another restore or an
    activation is under way, or if the sync is not kept."""
    if state.restoring is not None and state.restoring.sync == command.sync:
        return ()
    _check_restorable(state, command)
    requested = e.RestoreRequested(
        generation=state.generation,
        sync=command.sync,
        sync_position=command.sync_position,
        remove_sync_id=f"{command.sync_id}-remove",
        reactivate=isinstance(state.lifecycle, Running) and state.lifecycle.stop is None,
    )
    match state.lifecycle:
        case Deleted() if state.last_sync == command.sync:
            return ()
        case Deleted():
            return (requested, e.WorkspaceRewound(sync=command.sync, sync_position=command.sync_position))
        case Running(stop=None):
            stop = e.StopRequested(generation=state.generation, reason="restore", sync_id=command.sync_id)
            return (requested, stop)
        case Stopped(remove=None):
            return (requested, *removal(state, requested.remove_sync_id))
        case _:
            return (requested,)


def _check_restorable(state: SessionWorker, command: c.RequestRestore) -> None:
    if not command.sync.manifest_key.startswith(f"{state.workspace_prefix}/manifests/"):
        raise InvalidInput("syncPosition", "names a sync of another session")
    if state.attached_runs:
        raise RunAttached(f"run {state.attached_runs[0]} is attached; stop it first or wait for its end")
    if state.restoring is not None:
        raise Conflict(f"the sync of position {state.restoring.sync_position} is being restored", "restore_under_way")
    check_kept(state, command.superseded_at, command.sync_position)
    if state.activation_pending:
        raise Conflict("the worker is being activated; restore when it runs", "activating")


def continue_restore(state: SessionWorker, events: Sequence[Event]) -> Sequence[Event]:
    """`events`, with those that they cause in the restore that is under way in `state`."""
    restoring = state.restoring
    assert restoring is not None
    activation = next((event for event in events if isinstance(event, e.ActivationRequested)), None)
    for event in events:
        match event:
            case e.StopCanceled(reason=reason) | e.RemoveCanceled(reason=reason):
                return (*events, e.RestoreCanceled(generation=state.generation, reason=reason))
            case e.SessionRunAttached() if not isinstance(state.lifecycle, Removing):
                return (*events, e.RestoreCanceled(generation=state.generation, reason="run_attached"))
            case e.SessionStopped() if activation is not None:
                return (*events, e.RestoreCanceled(generation=state.generation, reason="activated"))
            case e.SessionStopped():
                return (*events, *removal(state, restoring.remove_sync_id))
            case e.SessionRemoved() | e.ContainerLost():
                return _rewound(state, restoring, events, activation)
    return events


def _rewound(
    state: SessionWorker,
    restoring: PendingRestore,
    events: Sequence[Event],
    activation: e.ActivationRequested | None,
) -> Sequence[Event]:
    """The container is gone, so the other sync is the workspace now; an activation among `events` is decided anew with
    it."""
    gone = [event for event in events if event is not activation]
    rewound = e.WorkspaceRewound(sync=restoring.sync, sync_position=restoring.sync_position)
    if activation is None and not restoring.reactivate:
        return (*gone, rewound)
    after = replace(state, last_sync=restoring.sync)
    return (*gone, rewound, request_activation(after, "create", state.generation + 1, None))


def removal(state: SessionWorker, sync_id: str) -> Sequence[Event]:
    """The request to remove a stopped worker; without a gate sync if its workspace was never restored."""
    never_restored = not (state.restored or state.ever_active)
    requested = e.RemoveRequested(generation=state.generation, sync_id=sync_id, never_restored=never_restored)
    return (requested, e.SessionRemoving(generation=state.generation)) if never_restored else (requested,)


def record_orphan(_state: SessionWorker, command: c.RecordOrphanRemoved) -> Sequence[Event]:
    return (
        e.OrphanRemoved(of_generation=command.of_generation, container_id=command.container_id, detail=command.detail),
    )

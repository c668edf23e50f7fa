"""Giving up the workspace of a worker's container: an operator's act, and the one exception from the sync gate."""

from collections.abc import Sequence

from domain.errors import Conflict, RunAttached
from domain.event import Event
from domain.session import commands as c
from domain.session import events as e
from domain.session.state import (
    Activating,
    Deleted,
    PendingRemove,
    PendingStop,
    Removing,
    Running,
    SessionWorker,
    Stopped,
    Stopping,
)


def discard_workspace(state: SessionWorker, command: c.DiscardWorkspace) -> Sequence[Event]:
    """The container is removed as it is; the session goes on with its last recorded sync. Raises RunAttached, and
    Conflict while the worker is being activated or stopped."""
    match state.lifecycle:
        case Removing() | Deleted():
            return ()
        case Activating():
            raise Conflict("the worker is being activated; discard its workspace when it runs", "activating")
        case Stopping():
            raise Conflict("the worker is being stopped; discard its workspace when it is stopped", "stopping")
    if state.attached_runs:
        raise RunAttached(f"run {state.attached_runs[0]} is attached; stop it first or wait for its end")
    discarded = e.WorkspaceDiscarded(
        generation=state.generation,
        reason=command.reason,
        last_sync=state.last_sync,
        last_sync_error=state.last_sync_error,
    )
    return (*_ended_gate(state), *_ended_syncs(state), discarded, e.SessionRemoving(generation=state.generation))


def _ended_gate(state: SessionWorker) -> tuple[Event, ...]:
    """The end of a stop or removal that waits for its gate sync."""
    match state.lifecycle:
        case Running(stop=PendingStop()):
            return (e.StopCanceled(generation=state.generation, reason="workspace_discarded"),)
        case Stopped(remove=PendingRemove()):
            return (e.RemoveCanceled(generation=state.generation, reason="workspace_discarded", in_maintenance=False),)
        case _:
            return ()


def _ended_syncs(state: SessionWorker) -> tuple[Event, ...]:
    """The final failure of every pending sync, so that nobody waits for it in vain."""
    return tuple(
        e.SessionSyncFailed(
            generation=state.generation,
            sync_id=sync.sync_id,
            reason=sync.reason,
            error="an operator discarded the workspace",
            attempt=0,
            final=True,
            for_run_id=sync.run_id,
        )
        for sync in state.pending_syncs
    )

"""What happens to a session outside the life of its worker: its workspace goes back in time, an orphan is removed."""

from collections.abc import Sequence

from domain.errors import Conflict, InvalidInput, RunAttached
from domain.event import Event
from domain.session import commands as c
from domain.session import events as e
from domain.session.state import Deleted, SessionWorker


def rewind(state: SessionWorker, command: c.RewindWorkspace) -> Sequence[Event]:
    """Only without a container, after the gates of its stop and its removal: nothing is lost by it."""
    if not command.sync.manifest_key.startswith(f"{state.workspace_prefix}/manifests/"):
        raise InvalidInput("syncPosition", "names a sync of another session")
    if state.attached_runs:
        raise RunAttached(f"run {state.attached_runs[0]} is attached; stop it first or wait for its end")
    if not isinstance(state.lifecycle, Deleted):
        raise Conflict(f"the worker is {state.public_state} again: a message came in between", "not_deleted")
    if state.last_sync == command.sync:
        return ()
    return (e.WorkspaceRewound(sync=command.sync, sync_position=command.sync_position),)


def record_orphan(_state: SessionWorker, command: c.RecordOrphanRemoved) -> Sequence[Event]:
    return (
        e.OrphanRemoved(of_generation=command.of_generation, container_id=command.container_id, detail=command.detail),
    )

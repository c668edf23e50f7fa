"""Which recorded syncs of a session are kept, and that the content which none of them names is collected.

A sync is kept while it is the workspace, and for a retention time after it stopped being that.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from domain.errors import Conflict
from domain.event import Event
from domain.record import Occurrence
from domain.session import commands as c
from domain.session import events as e
from domain.session.state import SessionWorker
from domain.workspace.sync import SyncRef


class SyncNotKept(Conflict):
    """A sync that stopped being the workspace too long ago: its content may be gone."""

    reason = "sync_not_kept"


def check_kept(state: SessionWorker, moment: datetime | None, sync_position: int) -> None:
    """Raises SyncNotKept for a sync that stopped being the workspace at `moment` (None: it is the workspace)."""
    if state.kept_since is not None and moment is not None and moment < state.kept_since:
        raise SyncNotKept(
            f"the sync of position {sync_position} is not kept any more: it stopped being the workspace "
            f"at {moment.isoformat()}"
        )


def request_collection(state: SessionWorker, command: c.RequestCollection) -> Sequence[Event]:
    """Decided on the session's stream, so that no sync is dropped that a restore has just been asked for, and that
    nothing is collected during a sync: the next round asks again."""
    if state.last_sync is None or state.collection_id or state.restoring is not None or state.pending_syncs:
        return ()
    if state.fork is not None and state.fork.content in {"copying", "failed"}:
        return ()
    if state.kept_since is not None and command.kept_since < state.kept_since:
        return ()
    return (e.CollectionRequested(collection_id=command.collection_id, kept_since=command.kept_since),)


def record_collected(state: SessionWorker, command: c.RecordCollected) -> Sequence[Event]:
    if state.collection_id != command.collection_id:
        return ()
    return (
        e.ContentCollected(
            collection_id=command.collection_id,
            kept_syncs=command.kept_syncs,
            manifests=command.manifests,
            contents=command.contents,
            bytes=command.bytes,
            more=command.more,
        ),
    )


def fail_collection(state: SessionWorker, command: c.FailCollection) -> Sequence[Event]:
    if state.collection_id != command.collection_id:
        return ()
    return (e.CollectionFailed(collection_id=command.collection_id, error=command.error),)


def superseded_at(history: Iterable[Occurrence]) -> Mapping[SyncRef, datetime | None]:
    """Every sync that was a session's workspace, by its events in order: when it last stopped being that, None for the
    present one."""
    found: dict[SyncRef, datetime | None] = {}
    present: SyncRef | None = None
    for occurrence in history:
        event = occurrence.event
        if not isinstance(event, e.SessionForked | e.SessionSynced | e.WorkspaceRewound) or event.sync is None:
            continue
        if event.sync != present:
            if present is not None:
                found[present] = occurrence.occurred_at
            present = event.sync
            found[present] = None
    return found


def kept_syncs(history: Iterable[Occurrence], kept_since: datetime) -> tuple[SyncRef, ...]:
    """The syncs that can be restored. The present workspace is one of them, however old it is."""
    return tuple(sync for sync, moment in superseded_at(history).items() if moment is None or moment >= kept_since)

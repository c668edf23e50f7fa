"""Retention of a session's recorded syncs, and the collection of content that no kept one names.

A sync is kept while it is the workspace, and for a retention time after another one has replaced it.
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

OF_SYNCS = (e.SessionForked, e.SessionSynced, e.WorkspaceRewound)
"""The events that tell which sync is the workspace."""


class SyncNotKept(Conflict):
    """The sync was replaced too long ago: its content may be deleted."""

    reason = "sync_not_kept"


def check_kept(state: SessionWorker, replaced_at: datetime | None, sync_position: int) -> None:
    """Raises SyncNotKept if a sync that was replaced at that time (None: it is the workspace) is not kept."""
    if state.kept_since is not None and replaced_at is not None and replaced_at < state.kept_since:
        raise SyncNotKept(
            f"the sync of position {sync_position} is not kept any more: it stopped being the workspace "
            f"at {replaced_at.isoformat()}"
        )


def request_collection(state: SessionWorker, command: c.RequestCollection) -> Sequence[Event]:
    """No event during a sync, a restore or the copying of a fork; the next round asks again. As the session's own
    stream decides it, a collection can't overlap with a restore of a sync that it drops."""
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
    """When each sync that was a session's workspace was last replaced by another; None for the present workspace.
    `history`: the session's events in order."""
    found: dict[SyncRef, datetime | None] = {}
    present: SyncRef | None = None
    for occurrence in history:
        event = occurrence.event
        if not isinstance(event, OF_SYNCS) or event.sync is None:
            continue
        if event.sync != present:
            if present is not None:
                found[present] = occurrence.occurred_at
            present = event.sync
            found[present] = None
    return found


def kept_syncs(history: Iterable[Occurrence], kept_since: datetime) -> tuple[SyncRef, ...]:
    """The syncs that are kept: the present workspace, and all that were replaced at `kept_since` or later."""
    return tuple(sync for sync, time in superseded_at(history).items() if time is None or time >= kept_since)

"""Forks: the recorded sync that a session had at a point of its past, and a new session that begins with it.

The fork gets the origin's sync manifest, byte for byte, and a copy of all content that it names, under its own prefix:
after that, neither session's syncs or collections affect the other.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from domain.errors import Conflict, IdentityConflict
from domain.event import Event
from domain.identifiers import check_new_id, workspace_prefix
from domain.record import RecordedEvent
from domain.session import commands as c
from domain.session import events as e
from domain.session.collection import OF_SYNCS, superseded_at
from domain.session.state import SessionWorker
from domain.workspace.sync import SyncRef


class KnownSync(msgspec.Struct, frozen=True, kw_only=True):
    """A sync that was the workspace from the event at `position` on. Its files were read after its request, event
    `requested_position` of the log. `left_out`: paths that could not be read, or that changed while they were."""

    sync: SyncRef
    position: int
    requested_position: int
    left_out: tuple[str, ...] = ()


class NearestSync(msgspec.Struct, frozen=True, kw_only=True):
    """`found`: the sync to begin with, None if there is none. `not_kept`: the position of a later one whose content may
    be deleted, 0 if there is none."""

    found: KnownSync | None
    not_kept: int = 0


OF_NEAREST_SYNC = (e.SyncRequested, e.StopRequested, e.RemoveRequested, *OF_SYNCS)
"""The events of a session that `nearest_sync` looks at."""


def nearest_sync(history: Sequence[RecordedEvent], before: int, kept_since: datetime | None) -> NearestSync:
    """The last kept sync of a session's whole `history` at or before position `before` of the log."""
    superseded = superseded_at(history)
    not_kept = 0
    for known in reversed(tuple(_known_syncs(event for event in history if event.position <= before))):
        replaced_at = superseded[known.sync]
        if kept_since is None or replaced_at is None or replaced_at >= kept_since:
            return NearestSync(found=known, not_kept=not_kept)
        not_kept = not_kept or known.position
    return NearestSync(found=None, not_kept=not_kept)


def _known_syncs(history: Iterable[RecordedEvent]) -> Iterable[KnownSync]:
    asked: dict[str, int] = {}
    last: KnownSync | None = None
    for recorded in history:
        event, position = recorded.event, recorded.position
        match event:
            case e.SyncRequested() | e.StopRequested() | e.RemoveRequested():
                asked[event.sync_id] = position
            case e.SessionSynced():
                requested = asked.get(event.sync_id, position)
                if last is not None and last.sync == event.sync and requested < last.requested_position:
                    continue  # one sync completed both requests, and told of the later one first
                last = KnownSync(
                    sync=event.sync,
                    position=position,
                    requested_position=requested,
                    left_out=(*event.unstable_paths, *event.skipped_paths),
                )
                yield last
            case e.SessionForked(sync=sync) | e.WorkspaceRewound(sync=sync) if sync is not None:
                yield KnownSync(sync=sync, position=position, requested_position=position)


def fork_session(state: SessionWorker | None, command: c.ForkSession) -> Sequence[Event]:
    """No event if this very fork exists. Raises IdentityConflict if the id is that of any other session."""
    if state is not None:
        check_is_this_fork(state, command.session_id, command.origin.run_id, command.origin.at_seq)
        return ()
    check_new_id("sessionId", command.session_id)
    prefix = workspace_prefix(command.app_id, command.project_name, command.user_login_name, command.session_id)
    sync = command.origin.sync
    return (
        e.SessionForked(
            origin=command.origin,
            app_id=command.app_id,
            project_name=command.project_name,
            user_login_name=command.user_login_name,
            workspace_prefix=prefix,
            manifest=command.manifest,
            sync=sync and moved(sync, command.origin_prefix, prefix),
            warnings=command.warnings,
        ),
    )


def check_is_this_fork(state: SessionWorker, session_id: str, run_id: str, at_seq: int) -> None:
    """Raises IdentityConflict for a known session that is not the fork of this run at this seq."""
    if state.fork is None:
        raise IdentityConflict(f"session {session_id!r} is known and is no fork; choose another sessionId")
    origin = state.fork.origin
    if (origin.run_id, origin.at_seq) != (run_id, at_seq):
        raise IdentityConflict(
            f"session {session_id!r} is a fork of run {origin.run_id!r} at seq {origin.at_seq}, "
            f"not of {run_id!r} at {at_seq}; choose another sessionId"
        )


def moved(sync: SyncRef, from_prefix: str, to_prefix: str) -> SyncRef:
    """The reference to the same manifest below another prefix."""
    return SyncRef(
        manifest_key=to_prefix + sync.manifest_key.removeprefix(from_prefix), manifest_hash=sync.manifest_hash
    )


def record_workspace_copied(state: SessionWorker, command: c.RecordWorkspaceCopied) -> Sequence[Event]:
    if state.fork is None or state.fork.content != "copying":
        return ()
    return (e.WorkspaceCopied(files=command.files, contents=command.contents, bytes=command.bytes),)


def fail_fork(state: SessionWorker, command: c.FailFork) -> Sequence[Event]:
    if state.fork is None or state.fork.content != "copying":
        return ()
    return (e.ForkFailed(error=command.error),)


def check_copied(session_id: str, state: SessionWorker) -> None:
    """Raises Conflict if a session is a fork whose files are not copied (yet)."""
    match state.fork.content if state.fork is not None else "":
        case "copying":
            raise Conflict(
                f"the files of {session_id!r}, a fork itself, are still being copied; try again", "fork_copying"
            )
        case "failed":
            raise Conflict(f"the files of {session_id!r}, a fork itself, could not be copied", "fork_failed")

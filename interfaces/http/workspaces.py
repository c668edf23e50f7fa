"""A session's workspace as of any recorded sync, or as any moment had it: list it, read a file of it, make it the
present one again."""

from typing import Any, Literal

import msgspec
from starlette.responses import Response

from application.session_commands import Settled
from domain.errors import Conflict, InvalidInput, NotFound
from domain.identifiers import session_stream
from domain.session.collection import check_kept, superseded_at
from domain.session.events import SessionForked, SessionSynced
from domain.session.state import SessionWorker
from domain.workspace.paths import WORKSPACE, check_workspace_path, relative
from domain.workspace.sync import ManifestEntry, SyncRef
from interfaces.http.endpoint import Answer, Call, Endpoint
from interfaces.http.queries import AsOfQuery, Number, Text, WaitQuery
from interfaces.http.reading import found, moment_of, within_log
from interfaces.http.session_workers import WorkerSettled, pending, present_worker
from interfaces.http.views import Pending, View
from projections.ports import Moment

MOST_ENTRIES = 50_000
LARGEST_FILE = 64 * 1024 * 1024


class WorkspaceQuery(AsOfQuery, frozen=True, kw_only=True):
    """`sync_position`: the position of a `session.synced` event; without it the last one counts, now or at the moment
    that is asked for. `path`: that of a folder, or of a file."""

    sync_position: Number | None = None
    path: Text = WORKSPACE


class RestoreBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`syncPosition`: the position of the `session.synced` event that becomes the workspace again."""

    sync_position: int


class WorkspaceEntry(View, frozen=True, kw_only=True):
    path: str
    kind: Literal["file", "dir", "symlink"]
    size: int = 0
    mode: int = 0
    target: str = ""
    sha256: str = ""


class RecordedWorkspace(View, frozen=True, kw_only=True):
    """`entries` below the asked folder, sorted by path; `mode` holds the permission bits."""

    session_id: str
    sync: SyncRef
    total: int
    entries: tuple[WorkspaceEntry, ...]
    as_of_position: int


async def list_workspace(call: Call[None, WorkspaceQuery]) -> Answer:
    below = relative(check_workspace_path("path", call.query.path))
    _, sync, position = await _asked(call)
    entries = await call.deps.recorded_workspaces.entries(sync)
    wanted = [entry for entry in entries if not below or entry.path == below or entry.path.startswith(f"{below}/")]
    if below and not wanted:
        raise NotFound(f"there is no {call.query.path!r} in this sync")
    if len(wanted) > MOST_ENTRIES:
        raise Conflict(f"{len(wanted)} entries below {call.query.path!r}: ask for a subfolder", "too_many_entries")
    listing = RecordedWorkspace(
        session_id=call.path["sessionId"],
        sync=sync,
        total=len(wanted),
        entries=tuple(_shown(entry) for entry in wanted),
        as_of_position=position,
    )
    return Answer(listing)


async def read_file(call: Call[None, WorkspaceQuery]) -> Response:
    below = relative(check_workspace_path("path", call.query.path))
    workspace_prefix, sync, position = await _asked(call)
    entries = await call.deps.recorded_workspaces.entries(sync)
    entry = next((entry for entry in entries if _readable(entry.path) == below), None)
    if entry is None:
        raise NotFound(f"there is no {call.query.path!r} in this sync")
    if entry.kind != "file":
        raise Conflict(f"{call.query.path!r} is a {entry.kind}, not a file", "not_a_file")
    if entry.size > LARGEST_FILE:
        raise Conflict(f"{call.query.path!r} has {entry.size} bytes; at most {LARGEST_FILE} are served", "too_large")
    body = await call.deps.recorded_workspaces.content(workspace_prefix, entry)
    headers = {
        "content-disposition": "attachment",
        "x-content-type-options": "nosniff",
        "x-as-of-position": str(position),
    }
    return Response(body, media_type="application/octet-stream", headers=headers)


async def restore(call: Call[RestoreBody, WaitQuery]) -> Answer:
    session_id = call.path["sessionId"]
    loaded = await call.deps.sessions.get(session_id)
    sync = await _sync_at(call, loaded.state, call.body.sync_position)
    await call.deps.recorded_workspaces.entries(sync)  # what can't be read must not take a worker down
    history = await call.deps.store.read_stream(session_stream(session_id))
    settled: Settled = await call.deps.sessions.restore(
        session_id,
        sync,
        call.body.sync_position,
        superseded_at(history)[sync],
        call.context,
        wait_s=call.query.wait_ms / 1000,
    )
    if settled.pending:
        return pending(settled)
    worker = await present_worker(call, session_id)
    return Answer(WorkerSettled(worker=worker, position=worker.position))


async def _asked(call: Call[None, WorkspaceQuery]) -> tuple[str, SyncRef, int]:
    """The session's prefix in the object store, the sync that the query is about, and where the session's stream stood.
    Raises NotFound, InvalidInput, SyncNotKept."""
    session_id, query, moment = call.path["sessionId"], call.query, moment_of(call.query)
    if moment is not None and query.sync_position is not None:
        raise InvalidInput("syncPosition", "goes without atSeq, at and atPosition: it names a sync by itself")
    if query.min_position is not None:
        await within_log(call, "minPosition", query.min_position)
    loaded = await call.deps.sessions.get(session_id)
    assert loaded.state is not None
    prefix = loaded.state.workspace_prefix
    if moment is not None:
        return prefix, *await _sync_then(call, loaded.state, moment)
    if query.sync_position is not None:
        return prefix, await _sync_at(call, loaded.state, query.sync_position), loaded.position
    if loaded.state.last_sync is None:
        raise NotFound(f"session {session_id!r} has never been synced")
    return prefix, loaded.state.last_sync, loaded.position


async def _sync_at(call: Call[Any, Any], state: SessionWorker | None, sync_position: int) -> SyncRef:
    """The sync of a `session.synced` event, or what a fork began with. Raises InvalidInput when there is none at
    this position, SyncNotKept."""
    assert state is not None
    stream = session_stream(call.path["sessionId"])
    events = await call.deps.store.read_all(after=sync_position - 1, limit=1) if sync_position > 0 else []
    at = next((event for event in events if event.position == sync_position), None)
    known = at.event if at is not None and at.stream == stream else None
    sync = known.sync if isinstance(known, SessionSynced | SessionForked) else None
    if sync is None:
        raise InvalidInput("syncPosition", f"{sync_position} is no session.synced event of {stream}")
    if state.kept_since is not None:
        history = await call.deps.store.read_stream(stream)
        check_kept(state, superseded_at(history)[sync], sync_position)
    return sync


async def _sync_then(call: Call[None, WorkspaceQuery], state: SessionWorker, moment: Moment) -> tuple[SyncRef, int]:
    """The last sync at a moment, and where the session's stream stood. Raises NotFound, InvalidInput, SyncNotKept."""
    session_id = call.path["sessionId"]
    read = await call.deps.reads.session_worker(session_id, at=moment)
    worker = found(read.value, f"no session {session_id!r} was known then")
    if worker.last_sync is None:
        raise NotFound(f"session {session_id!r} had never been synced then")
    if state.kept_since is not None:
        history = await call.deps.store.read_stream(session_stream(session_id))
        position = max(
            each.position
            for each in history
            if isinstance(each.event, SessionSynced | SessionForked)
            and each.event.sync == worker.last_sync
            and each.position <= worker.position
        )
        check_kept(state, superseded_at(history)[worker.last_sync], position)
    return worker.last_sync, worker.position


def _shown(entry: ManifestEntry) -> WorkspaceEntry:
    return WorkspaceEntry(
        path=f"{WORKSPACE}/{_readable(entry.path)}",
        kind=entry.kind,
        size=entry.size,
        mode=entry.mode,
        target=_readable(entry.target),
        sha256=entry.hash,
    )


def _readable(name: str) -> str:
    """The name for people: bytes of it that are not UTF-8 are shown as escapes."""
    return name.encode("utf-8", "backslashreplace").decode()


_PATH = "/api/session-workers/{sessionId}"
_TAG = "session workers"
ENDPOINTS = (
    Endpoint(
        method="GET",
        path=f"{_PATH}/workspace",
        handler=list_workspace,
        tag=_TAG,
        summary="The workspace as of its last recorded sync, or as it was",
        query=WorkspaceQuery,
        answers={200: RecordedWorkspace},
        errors=(404, 409),
    ),
    Endpoint(
        method="GET",
        path=f"{_PATH}/workspace/file",
        handler=read_file,
        tag=_TAG,
        summary="The bytes of a file as of the last recorded sync, or as it was",
        query=WorkspaceQuery,
        answers={200: bytes},
        errors=(404, 409),
    ),
    Endpoint(
        method="POST",
        path=f"{_PATH}/restore",
        handler=restore,
        tag=_TAG,
        summary="Make a recorded sync the workspace again; the present one is synced first. Goes on by itself",
        body=RestoreBody,
        query=WaitQuery,
        answers={200: WorkerSettled, 202: Pending},
        command=True,
        errors=(404, 409),
    ),
)

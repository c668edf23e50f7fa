"""A session's workspace as of any recorded sync: list it, read a file, restore it."""

from typing import Any, Literal

import msgspec
from starlette.responses import Response

from application.aggregates.stream_pages import events_of
from application.sessions.commands import SessionCommandOutcome
from domain.errors import Conflict, InvalidInput, NotFound
from domain.identifiers import session_stream
from domain.record import RecordedEvent
from domain.session.collection import OF_SYNCS, check_kept, superseded_at
from domain.session.events import SessionForked, SessionSynced
from domain.session.state import SessionWorker
from domain.workspace.paths import WORKSPACE, check_workspace_path, relative
from domain.workspace.sync import ManifestEntry, SyncRef
from interfaces.http.edge.endpoint import ApiCall, Endpoint, JsonAnswer
from interfaces.http.edge.examples import Example
from interfaces.http.edge.queries import AsOfQuery, Number, Text, WaitQuery
from interfaces.http.resources.reading import as_of, found, within_log
from interfaces.http.resources.session_workers import WorkerSettled, current_worker, pending
from interfaces.http.resources.views import AnswerBody, Pending
from projections.ports import AsOf

MAX_ENTRIES = 50_000
MAX_FILE_BYTES = 64 * 1024 * 1024


class WorkspaceQuery(AsOfQuery, frozen=True, kw_only=True):
    """`sync_position`: the position of a `session.synced` event; by default the last sync, now or as of the given time.
    `path`: of a folder or a file."""

    sync_position: Number | None = None
    path: Text = WORKSPACE


class RestoreBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`syncPosition`: the position of the `session.synced` event whose workspace is restored."""

    sync_position: int


class WorkspaceEntry(AnswerBody, frozen=True, kw_only=True):
    path: str
    kind: Literal["file", "dir", "symlink"]
    size: int = 0
    mode: int = 0
    target: str = ""
    sha256: str = ""


class RecordedWorkspace(AnswerBody, frozen=True, kw_only=True):
    """`entries`: the requested folder or file and all below it, sorted by path; `mode`: the permission bits."""

    session_id: str
    sync: SyncRef
    total: int
    entries: tuple[WorkspaceEntry, ...]
    as_of_position: int


async def list_workspace(call: ApiCall[None, WorkspaceQuery]) -> JsonAnswer:
    below = relative(check_workspace_path("path", call.query.path))
    _, sync, position = await _requested_sync(call)
    entries = await call.deps.recorded_workspaces.entries(sync)
    wanted = [entry for entry in entries if not below or entry.path == below or entry.path.startswith(f"{below}/")]
    if below and not wanted:
        raise NotFound(f"there is no {call.query.path!r} in this sync")
    if len(wanted) > MAX_ENTRIES:
        raise Conflict(f"{len(wanted)} entries below {call.query.path!r}: ask for a subfolder", "too_many_entries")
    listing = RecordedWorkspace(
        session_id=call.path["sessionId"],
        sync=sync,
        total=len(wanted),
        entries=tuple(_shown(entry) for entry in wanted),
        as_of_position=position,
    )
    return JsonAnswer(listing)


async def read_file(call: ApiCall[None, WorkspaceQuery]) -> Response:
    below = relative(check_workspace_path("path", call.query.path))
    workspace_prefix, sync, position = await _requested_sync(call)
    entries = await call.deps.recorded_workspaces.entries(sync)
    entry = next((entry for entry in entries if _readable(entry.path) == below), None)
    if entry is None:
        raise NotFound(f"there is no {call.query.path!r} in this sync")
    if entry.kind != "file":
        raise Conflict(f"{call.query.path!r} is a {entry.kind}, not a file", "not_a_file")
    if entry.size > MAX_FILE_BYTES:
        raise Conflict(f"{call.query.path!r} has {entry.size} bytes; at most {MAX_FILE_BYTES} are served", "too_large")
    body = await call.deps.recorded_workspaces.content(workspace_prefix, entry)
    headers = {
        "content-disposition": "attachment",
        "x-content-type-options": "nosniff",
        "x-as-of-position": str(position),
    }
    return Response(body, media_type="application/octet-stream", headers=headers)


async def restore(call: ApiCall[RestoreBody, WaitQuery]) -> JsonAnswer:
    session_id = call.path["sessionId"]
    loaded = await call.deps.sessions.get(session_id)
    sync = await _sync_at(call, loaded.state, call.body.sync_position)
    # A manifest that can't be read must fail here, before the worker is stopped.
    await call.deps.recorded_workspaces.entries(sync)
    history = await _syncs_of(call, session_stream(session_id))
    outcome: SessionCommandOutcome = await call.deps.sessions.restore(
        session_id,
        sync,
        call.body.sync_position,
        superseded_at(history)[sync],
        call.context,
        wait_s=call.query.wait_ms / 1000,
    )
    if outcome.pending:
        return pending(outcome)
    worker = await current_worker(call, session_id)
    return JsonAnswer(WorkerSettled(worker=worker, position=worker.position))


async def _requested_sync(call: ApiCall[None, WorkspaceQuery]) -> tuple[str, SyncRef, int]:
    """The session's prefix in the object store, the sync that the query names, and the position of the session's last
    event. Raises NotFound, InvalidInput, SyncNotKept."""
    session_id, query, moment = call.path["sessionId"], call.query, as_of(call.query)
    if moment is not None and query.sync_position is not None:
        raise InvalidInput("syncPosition", "goes without atSeq, at and atPosition: it names a sync by itself")
    if query.min_position is not None:
        await within_log(call, "minPosition", query.min_position)
    loaded = await call.deps.sessions.get(session_id)
    assert loaded.state is not None
    prefix = loaded.state.workspace_prefix
    if moment is not None:
        return prefix, *await _sync_as_of(call, loaded.state, moment)
    if query.sync_position is not None:
        return prefix, await _sync_at(call, loaded.state, query.sync_position), loaded.position
    if loaded.state.last_sync is None:
        raise NotFound(f"session {session_id!r} has never been synced")
    return prefix, loaded.state.last_sync, loaded.position


async def _sync_at(call: ApiCall[Any, Any], state: SessionWorker | None, sync_position: int) -> SyncRef:
    """The sync of the session's event `session.synced` or `session.forked` at a position. Raises InvalidInput if that
    is another event, SyncNotKept."""
    assert state is not None
    stream = session_stream(call.path["sessionId"])
    events = await call.deps.store.read_all(after=sync_position - 1, limit=1) if sync_position > 0 else []
    at = next((event for event in events if event.position == sync_position), None)
    known = at.event if at is not None and at.stream == stream else None
    sync = known.sync if isinstance(known, SessionSynced | SessionForked) else None
    if sync is None:
        listed = f"GET …/syncs and `fleetlog events --stream {stream} --type session.synced` list them"
        raise InvalidInput("syncPosition", f"{sync_position} is no session.synced event of {stream}; {listed}")
    if state.kept_since is not None:
        history = await _syncs_of(call, stream)
        check_kept(state, superseded_at(history)[sync], sync_position)
    return sync


async def _sync_as_of(call: ApiCall[None, WorkspaceQuery], state: SessionWorker, moment: AsOf) -> tuple[SyncRef, int]:
    """The last sync as of a point in time, and the position of the session's last event then. Raises NotFound,
    InvalidInput, SyncNotKept."""
    session_id = call.path["sessionId"]
    read = await call.deps.reads.session_worker(session_id, at=moment)
    worker = found(read.value, f"no session {session_id!r} was known then")
    if worker.last_sync is None:
        raise NotFound(f"session {session_id!r} had never been synced then")
    if state.kept_since is not None:
        history = await _syncs_of(call, session_stream(session_id))
        position = max(
            each.position
            for each in history
            if isinstance(each.event, SessionSynced | SessionForked)
            and each.event.sync == worker.last_sync
            and each.position <= worker.position
        )
        check_kept(state, superseded_at(history)[worker.last_sync], position)
    return worker.last_sync, worker.position


async def _syncs_of(call: ApiCall[Any, Any], stream: str) -> list[RecordedEvent]:
    """What a session's stream tells of its workspaces."""
    return [each async for each in events_of(call.deps.store, stream) if isinstance(each.event, OF_SYNCS)]


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
    """The name with bytes that are not UTF-8 written as escapes."""
    return name.encode("utf-8", "backslashreplace").decode()


_PATH = "/api/session-workers/{sessionId}"
_TAG = "session workers"
ENDPOINTS = (
    Endpoint(
        name="listWorkspace",
        method="GET",
        path=f"{_PATH}/workspace",
        handler=list_workspace,
        costly=True,
        tag=_TAG,
        summary="The workspace as of its last recorded sync, or as it was",
        query=WorkspaceQuery,
        answers={200: RecordedWorkspace},
        errors=(404, 409, 422, 502),
    ),
    Endpoint(
        name="readWorkspaceFile",
        method="GET",
        path=f"{_PATH}/workspace/file",
        handler=read_file,
        costly=True,
        tag=_TAG,
        summary="The bytes of a file as of the last recorded sync, or as it was",
        query=WorkspaceQuery,
        answers={200: bytes},
        errors=(404, 409, 422, 502),
        example=Example(query={"path": "/workspace/greeting.txt"}),
    ),
    Endpoint(
        name="restoreWorkspace",
        method="POST",
        path=f"{_PATH}/restore",
        handler=restore,
        tag=_TAG,
        summary="Restore the workspace of a recorded sync; the current one is synced first",
        body=RestoreBody,
        query=WaitQuery,
        answers={200: WorkerSettled, 202: Pending},
        command=True,
        errors=(404, 409, 422, 502),
        example=Example(body={"syncPosition": 34}),
    ),
)

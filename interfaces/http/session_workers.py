"""Session workers: activate, read, sync, stop."""

from typing import Any, Literal

import msgspec

from application.session_commands import Settled
from domain.identifiers import DEFAULT_PROJECT, check_id
from domain.session.commands import ActivateSession
from domain.session.events import ActivationAction
from domain.workspace.manifest import RuntimeManifest
from domain.workspace.sync import SyncRef
from interfaces.http.bodies import check_manifest_size
from interfaces.http.endpoint import Answer, Call, Endpoint, Nothing
from interfaces.http.queries import AsOfQuery, ListAsOfQuery, PageLimit, Text, WaitQuery
from interfaces.http.reading import caught_up, found, moment_of, shown_as
from interfaces.http.views import Pending, View
from projections.ports import Page, SessionWorkerFilter
from projections.session_workers import SESSION_WORKERS, SessionWorkerRow, SessionWorkerView, view
from projections.sync_history import SYNC_HISTORY, SyncRecord

WorkerState = Literal["running", "stopped", "deleted"]


class ActivateBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """An empty projectName is `default`. `runtimeVersion` must equal the manifest's. Without a manifest the session's
    last one counts."""

    app_id: str
    user_login_name: str
    project_name: str = ""
    runtime_version: str | None = None
    manifest: RuntimeManifest | None = None


class Activated(View, frozen=True, kw_only=True):
    """`action`: what the activation came to."""

    action: ActivationAction | None
    worker: SessionWorkerView
    position: int


class WorkerSettled(View, frozen=True, kw_only=True):
    worker: SessionWorkerView
    position: int


class Synced(View, frozen=True, kw_only=True):
    """`sync`: the manifest that is the session's workspace now."""

    worker: SessionWorkerView
    sync: SyncRef | None
    position: int


class WorkerRead(SessionWorkerView, frozen=True, kw_only=True):
    as_of_position: int


class ListWorkersQuery(ListAsOfQuery, frozen=True, kw_only=True):
    state: WorkerState | None = None
    app_id: Text | None = None
    project_name: Text | None = None
    user_login_name: Text | None = None
    last_sync_status: Literal["idle", "running", "success", "failed"] | None = None
    limit: PageLimit = 100
    cursor: Text | None = None


class SyncsQuery(AsOfQuery, frozen=True, kw_only=True):
    limit: PageLimit = 100
    cursor: Text | None = None


async def activate(call: Call[ActivateBody, WaitQuery]) -> Answer:
    session_id, body = call.path["sessionId"], call.body
    check_manifest_size(body.manifest)
    command = ActivateSession(
        session_id=session_id,
        app_id=check_id("appId", body.app_id),
        project_name=check_id("projectName", body.project_name or DEFAULT_PROJECT),
        user_login_name=check_id("userLoginName", body.user_login_name),
        runtime_version=body.runtime_version,
        manifest=body.manifest,
    )
    settled = await call.deps.sessions.activate(command, call.context, wait_s=call.query.wait_ms / 1000)
    if settled.pending:
        return pending(settled)
    worker = await present_worker(call, session_id)
    return Answer(Activated(action=settled.action, worker=worker, position=worker.position))


async def sync(call: Call[Nothing, WaitQuery]) -> Answer:
    session_id = call.path["sessionId"]
    settled = await call.deps.sessions.sync(session_id, call.context, wait_s=call.query.wait_ms / 1000)
    if settled.pending:
        return pending(settled)
    worker = await present_worker(call, session_id)
    return Answer(Synced(worker=worker, sync=worker.last_sync, position=worker.position))


async def stop(call: Call[Nothing, WaitQuery]) -> Answer:
    session_id = call.path["sessionId"]
    settled = await call.deps.sessions.stop(session_id, call.context, wait_s=call.query.wait_ms / 1000)
    if settled.pending:
        return pending(settled)
    worker = await present_worker(call, session_id)
    return Answer(WorkerSettled(worker=worker, position=worker.position))


async def get_worker(call: Call[None, AsOfQuery]) -> Answer:
    session_id = call.path["sessionId"]
    await caught_up(call, SESSION_WORKERS.name)
    read = await call.deps.reads.session_worker(session_id, at=moment_of(call.query))
    worker = found(read.value, f"no session {session_id!r} is known")
    return Answer(shown_as(WorkerRead, worker, read.as_of_position))


async def list_syncs(call: Call[None, SyncsQuery]) -> Answer:
    session_id, query = call.path["sessionId"], call.query
    await caught_up(call, SYNC_HISTORY.name)
    await call.deps.sessions.get(session_id)
    at = moment_of(query)
    return Answer(await call.deps.reads.sync_history(session_id, limit=query.limit, cursor=query.cursor, at=at))


async def list_workers(call: Call[None, ListWorkersQuery]) -> Answer:
    query = call.query
    await caught_up(call, SESSION_WORKERS.name)
    matching = SessionWorkerFilter(
        state=query.state,
        app_id=query.app_id,
        project_name=query.project_name,
        user_login_name=query.user_login_name,
        last_sync_status=query.last_sync_status,
    )
    at = moment_of(query)
    return Answer(await call.deps.reads.session_workers(matching, limit=query.limit, cursor=query.cursor, at=at))


def pending(settled: Settled) -> Answer:
    """202 for a command whose effect is still under way."""
    return Answer(Pending(position=settled.position), status=202)


async def present_worker(call: Call[Any, Any], session_id: str) -> SessionWorkerView:
    """The worker as its stream says now, in the shape of the read model."""
    loaded = await call.deps.sessions.get(session_id)
    assert loaded.state is not None
    row = SessionWorkerRow(
        session_id=session_id, worker=loaded.state, created_position=0, seq=loaded.seq, position=loaded.position
    )
    return view(row)


_PATH = "/api/session-workers/{sessionId}"
_TAG = "session workers"
ENDPOINTS = (
    Endpoint(
        method="POST",
        path=f"{_PATH}/activate",
        handler=activate,
        tag=_TAG,
        summary="Make the session's worker run: create, start or touch it",
        body=ActivateBody,
        query=WaitQuery,
        answers={200: Activated, 202: Pending},
        command=True,
        errors=(409,),
    ),
    Endpoint(
        method="POST",
        path=f"{_PATH}/sync",
        handler=sync,
        tag=_TAG,
        summary="Sync the workspace of a running worker now",
        body=Nothing,
        body_optional=True,
        query=WaitQuery,
        answers={200: Synced, 202: Pending},
        command=True,
        errors=(404, 409),
    ),
    Endpoint(
        method="POST",
        path=f"{_PATH}/stop",
        handler=stop,
        tag=_TAG,
        summary="Close the session: sync, then stop its worker",
        body=Nothing,
        body_optional=True,
        query=WaitQuery,
        answers={200: WorkerSettled, 202: Pending},
        command=True,
        errors=(404, 409),
    ),
    Endpoint(
        method="GET",
        path=_PATH,
        handler=get_worker,
        tag=_TAG,
        summary="One worker, now or as it was",
        query=AsOfQuery,
        answers={200: WorkerRead},
        errors=(404,),
    ),
    Endpoint(
        method="GET",
        path=f"{_PATH}/syncs",
        handler=list_syncs,
        tag=_TAG,
        summary="Every recorded sync of the workspace, newest first, now or as it was",
        query=SyncsQuery,
        answers={200: Page[SyncRecord]},
        errors=(404,),
    ),
    Endpoint(
        method="GET",
        path="/api/session-workers",
        handler=list_workers,
        tag=_TAG,
        summary="Workers, newest first, now or as they were",
        query=ListWorkersQuery,
        answers={200: Page[SessionWorkerView]},
        errors=(503,),
    ),
)

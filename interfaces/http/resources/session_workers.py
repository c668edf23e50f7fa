"""Session workers: activate, read, sync, stop; give up a workspace that can't be synced."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from application.sessions.commands import SessionCommandOutcome
from domain.identifiers import DEFAULT_PROJECT, check_id
from domain.session.commands import ActivateSession
from domain.session.events import ActivationAction
from domain.workspace.manifest import RuntimeManifest
from domain.workspace.sync import SyncRef
from interfaces.http.compatibility.views import SessionWorkerView, worker_page
from interfaces.http.compatibility.views import worker as shown_worker
from interfaces.http.edge.endpoint import ApiCall, Endpoint, JsonAnswer, Nothing
from interfaces.http.edge.examples import Example
from interfaces.http.edge.queries import AsOfQuery, ListAsOfQuery, PageLimit, Text, WaitQuery
from interfaces.http.edge.stored_values import check_manifest_size
from interfaces.http.resources.reading import as_of, caught_up, found, shown_as
from interfaces.http.resources.views import AnswerBody, Pending
from projections.ports import Page, SessionWorkerFilter
from projections.session_workers import SESSION_WORKERS, SessionWorkerRow, view
from projections.sync_history import SYNC_HISTORY, SyncRecord

WorkerState = Literal["running", "stopped", "deleted"]


class ActivateBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`projectName` defaults to `default`, `manifest` to the session's last one. `runtimeVersion` must equal the
    manifest's."""

    app_id: str
    user_login_name: str
    project_name: str = ""
    runtime_version: str | None = None
    manifest: RuntimeManifest | None = None


class DiscardBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`reason` is recorded in the log."""

    reason: Annotated[str, Meta(min_length=1, max_length=2000)]


class Activated(AnswerBody, frozen=True, kw_only=True):
    """`action`: what the activation did."""

    action: ActivationAction | None
    worker: SessionWorkerView
    position: int


class WorkerSettled(AnswerBody, frozen=True, kw_only=True):
    worker: SessionWorkerView
    position: int


class Synced(AnswerBody, frozen=True, kw_only=True):
    """`sync`: the session's last sync, and so its current workspace."""

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


async def activate(call: ApiCall[ActivateBody, WaitQuery]) -> JsonAnswer:
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
    outcome = await call.deps.sessions.activate(command, call.context, wait_s=call.query.wait_ms / 1000)
    if outcome.pending:
        return pending(outcome)
    worker = await current_worker(call, session_id)
    return JsonAnswer(Activated(action=outcome.action, worker=worker, position=worker.position))


async def sync(call: ApiCall[Nothing, WaitQuery]) -> JsonAnswer:
    session_id = call.path["sessionId"]
    outcome = await call.deps.sessions.sync(session_id, call.context, wait_s=call.query.wait_ms / 1000)
    if outcome.pending:
        return pending(outcome)
    worker = await current_worker(call, session_id)
    return JsonAnswer(Synced(worker=worker, sync=worker.last_sync, position=worker.position))


async def stop(call: ApiCall[Nothing, WaitQuery]) -> JsonAnswer:
    session_id = call.path["sessionId"]
    outcome = await call.deps.sessions.stop(session_id, call.context, wait_s=call.query.wait_ms / 1000)
    if outcome.pending:
        return pending(outcome)
    worker = await current_worker(call, session_id)
    return JsonAnswer(WorkerSettled(worker=worker, position=worker.position))


async def discard_workspace(call: ApiCall[DiscardBody, WaitQuery]) -> JsonAnswer:
    session_id, wait_s = call.path["sessionId"], call.query.wait_ms / 1000
    outcome = await call.deps.sessions.discard(session_id, call.body.reason, call.context, wait_s=wait_s)
    if outcome.pending:
        return pending(outcome)
    worker = await current_worker(call, session_id)
    return JsonAnswer(WorkerSettled(worker=worker, position=worker.position))


async def get_worker(call: ApiCall[None, AsOfQuery]) -> JsonAnswer:
    session_id = call.path["sessionId"]
    await caught_up(call, SESSION_WORKERS.name)
    read = await call.deps.reads.session_worker(session_id, at=as_of(call.query))
    worker = found(read.value, f"no session {session_id!r} is known")
    return JsonAnswer(shown_as(WorkerRead, shown_worker(worker), read.as_of_position))


async def list_syncs(call: ApiCall[None, SyncsQuery]) -> JsonAnswer:
    session_id, query = call.path["sessionId"], call.query
    await caught_up(call, SYNC_HISTORY.name)
    await call.deps.sessions.get(session_id)
    at = as_of(query)
    return JsonAnswer(await call.deps.reads.sync_history(session_id, limit=query.limit, cursor=query.cursor, at=at))


async def list_workers(call: ApiCall[None, ListWorkersQuery]) -> JsonAnswer:
    query = call.query
    await caught_up(call, SESSION_WORKERS.name)
    matching = SessionWorkerFilter(
        state=query.state,
        app_id=query.app_id,
        project_name=query.project_name,
        user_login_name=query.user_login_name,
        last_sync_status=query.last_sync_status,
    )
    at = as_of(query)
    page = await call.deps.reads.session_workers(matching, limit=query.limit, cursor=query.cursor, at=at)
    return JsonAnswer(worker_page(page))


def pending(outcome: SessionCommandOutcome) -> JsonAnswer:
    """202 for a command whose outcome is still under way."""
    return JsonAnswer(Pending(position=outcome.position), status=202)


async def current_worker(call: ApiCall[Any, Any], session_id: str) -> SessionWorkerView:
    """The worker folded from its stream, so without waiting for the read model, in the read model's shape."""
    loaded = await call.deps.sessions.get(session_id)
    assert loaded.state is not None
    row = SessionWorkerRow(
        session_id=session_id, worker=loaded.state, created_position=0, seq=loaded.seq, position=loaded.position
    )
    return shown_worker(view(row))


_PATH = "/api/session-workers/{sessionId}"
_TAG = "session workers"
ENDPOINTS = (
    Endpoint(
        name="activateSession",
        method="POST",
        path=f"{_PATH}/activate",
        handler=activate,
        tag=_TAG,
        summary="Make the session's worker run: create, start or keep it",
        body=ActivateBody,
        query=WaitQuery,
        answers={200: Activated, 202: Pending},
        command=True,
        errors=(409,),
        example=Example(body={"appId": "shop", "userLoginName": "ada"}),
    ),
    Endpoint(
        name="syncSession",
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
        name="stopSession",
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
        name="discardWorkspace",
        method="POST",
        path=f"{_PATH}/discard-workspace",
        handler=discard_workspace,
        tag=_TAG,
        summary="Remove the worker without a sync: what it holds since the last recorded sync is lost",
        body=DiscardBody,
        query=WaitQuery,
        answers={200: WorkerSettled, 202: Pending},
        command=True,
        errors=(404, 409),
        example=Example(path={"sessionId": "s2"}, body={"reason": "its disk is broken"}),
    ),
    Endpoint(
        name="getSession",
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
        name="listSyncs",
        method="GET",
        path=f"{_PATH}/syncs",
        handler=list_syncs,
        tag=_TAG,
        summary="Every recorded sync of the workspace, newest first, now or as it was",
        query=SyncsQuery,
        answers={200: Page[SyncRecord]},
        errors=(404,),
        example=Example(query={"limit": 2}),
    ),
    Endpoint(
        name="listSessions",
        method="GET",
        path="/api/session-workers",
        handler=list_workers,
        tag=_TAG,
        summary="Workers, newest first, now or as they were",
        query=ListWorkersQuery,
        answers={200: Page[SessionWorkerView]},
        errors=(503,),
        example=Example(query={"appId": "shop", "limit": 2}),
    ),
)

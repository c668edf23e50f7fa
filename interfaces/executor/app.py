"""The executor's HTTP handlers, one for each call of application/executor_protocol.py."""

import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from application import executor_protocol as protocol
from application.executor_protocol import (
    MAX_FILE_BYTES,
    SIZE_HEADER,
    ExecutorCall,
    ExecutorConfig,
    ExecutorHealth,
    ReplyRequest,
    RestoreRequest,
    StartRequest,
    SyncRequest,
    TreeResult,
    ValidateRequest,
    WorkspaceCall,
)
from domain.errors import Conflict, InvalidInput
from domain.identifiers import check_id
from interfaces.executor.kept_log import KeptLog
from interfaces.executor.ports import ExecutorRuns, Workspace
from interfaces.executor.problems import problem_of, response_of
from interfaces.http_conventions.bodies import (
    body_chunks,
    check_json_content,
    decode_body,
    read_body,
    with_chunk_timeout,
)
from interfaces.http_conventions.problems import StatusAndReason, routing_problem

Body = TypeVar("Body", bound=msgspec.Struct)
Handler = Callable[[Request], Awaitable[Response]]


class ExecutorApi:
    """One handler per call. Uploads are spooled to files in `spool_dir`. `other_errors`: status and reason of errors
    that the protocol's side does not know."""

    def __init__(
        self, config: ExecutorConfig, *, boot_id: str, workspace: Workspace, runs: ExecutorRuns, spool_dir: Path,
        other_errors: StatusAndReason, kept_log: KeptLog | None = None,
    ) -> None:  # fmt: skip
        self._kept_log = kept_log or KeptLog()
        self._config = config
        self._boot_id = boot_id
        self._workspace = workspace
        self._runs = runs
        self._spool_dir = spool_dir
        self._other_errors = other_errors

    def app(self) -> Starlette:
        handlers: list[tuple[ExecutorCall[Any], Handler]] = [
            (protocol.HEALTH, self.health),
            (protocol.RESTORE, self.restore),
            (protocol.LINK_AGENT_DATA, self.link_agent_data),
            (protocol.VALIDATE, self.validate),
            (protocol.SYNC, self.sync),
            (protocol.SYNC_PROGRESS, self.sync_progress),
            (protocol.TREE, self.tree),
            (protocol.READ_FILE, self.read_file),
            (protocol.WRITE_FILE, self.write_file),
            (protocol.DOWNLOAD, self.download),
            (protocol.START_RUN, self.start_run),
            (protocol.RUN_STATE, self.run_state),
            (protocol.FOLLOW_RUN, self.stream_run),
            (protocol.STOP_RUN, self.stop_run),
            (protocol.REPLY, self.reply),
            (protocol.LOG, self.log),
            (protocol.TAKE_LOG, self.take_log),
        ]

        async def not_routed(request: Request, error: Exception) -> Response:
            assert isinstance(error, HTTPException)
            return response_of(routing_problem(error, request.url.path))

        return Starlette(
            routes=[Route(call.path, self._answering(handler), methods=[call.method]) for call, handler in handlers],
            exception_handlers={HTTPException: not_routed},
        )

    async def health(self, _request: Request) -> Response:
        return _json(
            ExecutorHealth(
                boot_id=self._boot_id,
                session_id=self._config.session_id,
                generation=self._config.generation,
                restored=self._workspace.marker is not None,
                maintenance=self._config.maintenance,
                active_runs=self._runs.active_runs,
            )
        )

    async def restore(self, request: Request) -> Response:
        return _json(await self._workspace.restore(await self._call(request, RestoreRequest)))

    async def link_agent_data(self, request: Request) -> Response:
        await self._call(request, WorkspaceCall)
        return _json(await self._workspace.link_agent_data())

    async def validate(self, request: Request) -> Response:
        call = await self._call(request, ValidateRequest)
        return _json(await self._workspace.validate(call.required_paths))

    async def sync(self, request: Request) -> Response:
        return _json(await self._workspace.sync(await self._call(request, SyncRequest)))

    async def sync_progress(self, _request: Request) -> Response:
        return _json(self._workspace.sync_progress())

    async def tree(self, request: Request) -> Response:
        entries = await self._workspace.tree(_path(request, "/workspace"))
        return _json(TreeResult(entries=entries))

    async def read_file(self, request: Request) -> Response:
        chunks, size = await self._workspace.read_file(_path(request))
        return StreamingResponse(chunks, media_type="application/octet-stream", headers={SIZE_HEADER: str(size)})

    async def write_file(self, request: Request) -> Response:
        path = _path(request)
        self._workspace.require_restored()
        fd, name = await run_in_threadpool(tempfile.mkstemp, dir=self._spool_dir)
        spooled = Path(name)
        try:
            with os.fdopen(fd, "wb") as file:
                async for chunk in with_chunk_timeout(body_chunks(request, MAX_FILE_BYTES)):
                    await run_in_threadpool(file.write, chunk)
            await self._workspace.write_file(path, spooled)
        finally:
            await run_in_threadpool(spooled.unlink, missing_ok=True)
        return Response(status_code=204)

    async def download(self, request: Request) -> Response:
        chunks = await self._workspace.download(_path(request, "/workspace"))
        return StreamingResponse(chunks, media_type="application/x-tar")

    async def start_run(self, request: Request) -> Response:
        call = await self._call(request, StartRequest)
        check_id("runId", call.run_id)
        if call.attempt < 1:
            raise InvalidInput("attempt", f"{call.attempt} is not an attempt; they count from 1")
        if call.spec.session_id != self._config.session_id:
            raise Conflict(f"the run belongs to session {call.spec.session_id!r}", "fenced")
        return _json(await self._runs.start(call))

    async def run_state(self, request: Request) -> Response:
        return _json(await self._runs.state(request.path_params["run_id"]))

    async def stream_run(self, request: Request) -> Response:
        cursor = request.query_params.get("cursor", "0")
        if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
            raise InvalidInput("cursor", f"{cursor[:40]!r} is not the number of a journal entry")
        lines = await self._runs.follow(request.path_params["run_id"], int(cursor))
        return StreamingResponse(lines, media_type="application/x-ndjson", headers={"cache-control": "no-cache"})

    async def stop_run(self, request: Request) -> Response:
        return _json(await self._runs.stop(request.path_params["run_id"]))

    async def reply(self, request: Request) -> Response:
        body = await _body(request, ReplyRequest)
        return _json(await self._runs.reply(request.path_params["run_id"], body))

    async def log(self, _request: Request) -> Response:
        return _json(self._kept_log.read())

    async def take_log(self, _request: Request) -> Response:
        return _json(self._kept_log.take())

    async def _call(self, request: Request, kind: type[Body]) -> Body:
        body = await _body(request, kind)
        assert isinstance(body, WorkspaceCall)
        mine = self._config
        if body.session_id != mine.session_id or body.generation != mine.generation:
            raise Conflict(
                f"this executor serves generation {mine.generation} of session {mine.session_id!r}, "
                f"not generation {body.generation} of {body.session_id!r}",
                "fenced",
            )
        return body

    def _answering(self, handler: Handler) -> Handler:
        async def answering(request: Request) -> Response:
            try:
                return await handler(request)
            except Exception as error:  # noqa: BLE001  every error becomes an answer, the unexpected ones are logged
                return response_of(problem_of(error, self._other_errors))

        return answering


async def _body(request: Request, kind: type[Body]) -> Body:
    check_json_content(request)
    return decode_body(await read_body(request), msgspec.json.Decoder(kind))


def _json(answer: object) -> Response:
    return Response(msgspec.json.encode(answer), media_type="application/json")


def _path(request: Request, default: str | None = None) -> str:
    path = request.query_params.get("path", default)
    if path is None:
        raise InvalidInput("path", "is missing")
    return path

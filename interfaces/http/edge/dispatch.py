"""Dispatch: checks access, decodes path, query and body, calls the endpoint's handler, once per idempotency key."""

import asyncio
from collections.abc import Awaitable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from application.command_context import CommandContext
from application.diagnostic_context import diagnostic_context
from interfaces.http.edge.auth import browser_refusal, require_actor
from interfaces.http.edge.dependencies import ApiDependencies
from interfaces.http.edge.endpoint import ApiCall, Endpoint, JsonAnswer, checked_path
from interfaces.http.edge.exchange import Exchange, exchange_of
from interfaces.http.edge.idempotency import KeyedCommand, keyed_command
from interfaces.http.edge.queries import decode_query
from interfaces.http_conventions import bodies
from interfaces.http_conventions.problems import Problem

_encode = msgspec.json.Encoder().encode


class PathApp:
    """The ASGI app of one path: its endpoints by method. HEAD is answered as GET."""

    def __init__(self, deps: ApiDependencies, endpoints: Mapping[str, Endpoint]) -> None:
        self._deps, self._endpoints = deps, endpoints
        self._allowed = ", ".join(sorted(endpoints))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        exchange = exchange_of(scope)
        method = "GET" if request.method == "HEAD" else request.method
        endpoint = self._endpoints.get(method)
        if endpoint is None or (request.method == "HEAD" and endpoint.streams):
            raise Problem(
                405,
                "method-not-allowed",
                "Method not allowed",
                f"{request.method} is not possible here; possible: {self._allowed}",
                headers={"allow": self._allowed},
            )
        exchange.route = endpoint.path
        about = request.path_params
        with diagnostic_context(run_id=about.get("runId", ""), session_id=about.get("sessionId", "")):
            response = await _respond(endpoint, self._deps, request, exchange)
            await self._deps.large_answers.send(response, scope, receive, send)


async def _respond(endpoint: Endpoint, deps: ApiDependencies, request: Request, exchange: Exchange) -> Response:
    path = await _permitted_path(endpoint, deps, request, exchange)
    query = decode_query(endpoint.query, request.query_params.multi_items())
    async with AsyncExitStack() as budget:
        await budget.enter_async_context(deps.body_budget.reserved(request))
        raw = await bodies.read_body(request, endpoint.max_body) if endpoint.method != "GET" else bytearray()
        body = _decoded(endpoint, request, raw)
        command = keyed_command(request, exchange, raw) if endpoint.command else None
        if not endpoint.raw_body:
            # Release the budget before the handler runs: it may wait for minutes, and a decoded body is small.
            raw = bytearray()
            await budget.aclose()
        call: ApiCall[Any, Any] = ApiCall(
            request=request,
            deps=deps,
            exchange=exchange,
            context=_context(deps, exchange, command),
            path=path,
            query=query,
            body=body,
            raw=raw,
        )
        return await _answered(endpoint, call, command)


async def _answered(endpoint: Endpoint, call: ApiCall[Any, Any], command: KeyedCommand | None) -> Response:
    if not endpoint.command:
        return await _handled(endpoint, call)

    async def handle() -> Response:
        return await _until_disconnect(call.request.receive, _handled(endpoint, call))

    return await (command.answered_once(call.deps, handle) if command else handle())


async def _handled(endpoint: Endpoint, call: ApiCall[Any, Any]) -> Response:
    return _response(await endpoint.handler(call))


async def _permitted_path(
    endpoint: Endpoint, deps: ApiDependencies, request: Request, exchange: Exchange
) -> Mapping[str, str]:
    if endpoint.access == "key or worker token" and exchange.actor is None and exchange.token:
        path = checked_path(request.path_params)
        exchange.actor = await deps.callback_tokens.actor_of(path["runId"], exchange.token)
        exchange.of_worker = exchange.actor is not None
    if endpoint.access != "open":
        require_actor(exchange)
    if endpoint.costly and not deps.api_keys and (refusal := browser_refusal(request.headers)):
        raise Problem(403, "forbidden", "Forbidden", refusal)
    return checked_path(request.path_params)


def _decoded(endpoint: Endpoint, request: Request, raw: bytearray) -> Any:
    if endpoint.raw_body or endpoint.method == "GET":
        return None
    if not raw and (endpoint.body is None or endpoint.body_optional):
        return endpoint.body() if endpoint.body else None
    bodies.check_json_content(request)
    bodies.check_text(raw)
    return bodies.decode_body(raw, endpoint.decoder)


def _context(deps: ApiDependencies, exchange: Exchange, command: KeyedCommand | None) -> CommandContext:
    command_id = command.command_id if command else deps.new_id()
    return CommandContext(
        actor=exchange.actor or "",
        command_id=command_id,
        correlation_id=exchange.incoming_trace_id or command_id,
        trace_id=exchange.trace_id,
        span_id=exchange.span_id,
    )


def _response(answer: JsonAnswer | Response) -> Response:
    if isinstance(answer, Response):
        return answer
    return Response(
        _encode(answer.body),
        status_code=answer.status,
        media_type="application/json",
        headers={"cache-control": "no-store", **answer.headers},
    )


async def _until_disconnect(receive: Receive, work: Awaitable[Response]) -> Response:
    """The response. Raises ClientDisconnect, and cancels `work`, when the client goes away; appended events stay."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientDisconnect
    finally:
        await _cancelled(gone)
        await _cancelled(task)
        del task  # as in AnswerErrors (middleware.py)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cancelled(task: "asyncio.Future[Any]") -> None:
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.exception()

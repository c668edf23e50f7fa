"""Middleware around every call: trace ids, the bearer token, the time of the last call, one log line."""

import asyncio
import hashlib
import hmac
import logging
import time
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from application.diagnostic_context import diagnostic_context
from application.executor_protocol import HEALTH, TAKE_LOG, TRACE_HEADERS
from application.store_credentials import CREDENTIALS_HEADER, STORE_HEADER, StoreCredentials
from application.trace_context import incoming_trace_id, new_trace_id
from interfaces.executor.problems import response_of
from interfaces.http_conventions.answer_headers import send_with_trace
from interfaces.http_conventions.problems import Problem

_OPEN_PATHS = frozenset({HEALTH.path})
_POLLED = _OPEN_PATHS | {TAKE_LOG.path}
"""Called every few seconds. A line for each call that takes the log would be what the next one takes."""
_LONGEST_VALUE = 200
_log = logging.getLogger("fleetlog.executor.http")


class Activity:
    """When the last call with a valid token ended; for the exit when idle."""

    def __init__(self) -> None:
        self._under_way = 0
        self._last = asyncio.get_running_loop().time()

    def begin(self) -> None:
        self._under_way += 1

    def end(self) -> None:
        self._under_way -= 1
        self._last = asyncio.get_running_loop().time()

    def idle_s(self) -> float:
        """Seconds since the last call ended; 0 during one."""
        return 0.0 if self._under_way else asyncio.get_running_loop().time() - self._last


class Guard:
    """ASGI middleware. Calls without the token get 401, but for `GET /health`. `renew` is given the credentials that
    calls with the token bring."""

    def __init__(
        self, app: ASGIApp, *, token: str, activity: Activity, renew: Callable[[StoreCredentials], None]
    ) -> None:
        self._renew = renew
        self._app = app
        self._token_hash = hashlib.sha256(token.encode()).digest()
        self._activity = activity

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        trace_id = incoming_trace_id(headers) or new_trace_id()
        about = {name: headers.get(header, "")[:_LONGEST_VALUE] for name, header in TRACE_HEADERS.items()}
        with diagnostic_context(trace_id=trace_id, **about):
            allowed = self._allows(headers)
            for name in (CREDENTIALS_HEADER, STORE_HEADER):
                if allowed and (credentials := headers.get(name)):
                    self._take(name, credentials)
            await self._serve(scope, receive, send_with_trace(send, trace_id), allowed)

    def _take(self, name: str, header: str) -> None:
        try:
            credentials = StoreCredentials.of_header(header)
        except ValueError as error:  # the call may still need none
            _log.warning("the credentials in %s are not understood: %s", name, error)
        else:
            self._renew(credentials)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, allowed: bool) -> None:
        status = 0

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started = time.monotonic()
        app = self._app if allowed or scope["path"] in _OPEN_PATHS else _unauthorized()
        if allowed:
            self._activity.begin()
        try:
            await app(scope, receive, send_noted)
        finally:
            if allowed:
                self._activity.end()
            spent_ms = (time.monotonic() - started) * 1000
            level = logging.INFO if scope["path"] not in _POLLED else logging.DEBUG
            _log.log(level, "%s %s %s %.1f ms", scope["method"], scope["path"], status, spent_ms)

    def _allows(self, headers: Headers) -> bool:
        kind, _, token = headers.get("authorization", "").partition(" ")
        # Constant-time comparison; hashes, so that both sides have the same length.
        same = hmac.compare_digest(hashlib.sha256(token.strip().encode()).digest(), self._token_hash)
        return kind.lower() == "bearer" and same


def _unauthorized() -> ASGIApp:
    detail = "this call needs the worker's bearer token"
    return response_of(Problem(401, "unauthorized", "Unauthorized", detail, headers={"www-authenticate": "Bearer"}))

"""What every call passes before it is answered: trace, token, size, and the note that somebody is there."""

import asyncio
import hashlib
import hmac
import logging
import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from interfaces.executor.problems import BodyTooLarge, problem
from interfaces.executor.tracing import enter_trace

MAX_JSON_BYTES = 8 * 1024 * 1024
MAX_FILE_BYTES = 512 * 1024 * 1024
_OPEN_PATHS = frozenset({"/health"})
_log = logging.getLogger("fleetlog.executor.http")


class Activity:
    """Whether anybody with the token has called lately. A call under way counts as now."""

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
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, *, token: str, activity: Activity) -> None:
        self._app = app
        self._token_hash = hashlib.sha256(token.encode()).digest()
        self._activity = activity

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        enter_trace(headers)
        allowed = self._allows(headers.get("authorization", ""))
        if not allowed and scope["path"] not in _OPEN_PATHS:
            refusal = problem(
                401, "this call needs the worker's bearer token", "unauthorized", headers={"www-authenticate": "Bearer"}
            )
            await refusal(scope, receive, send)
            return
        limit = MAX_FILE_BYTES if scope["method"] == "PUT" else MAX_JSON_BYTES
        if _declared_length(headers) > limit:
            await problem(413, str(BodyTooLarge(limit)), "body_too_large")(scope, receive, send)
            return
        await self._serve(scope, _limited(receive, limit), send, counts=allowed)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, *, counts: bool) -> None:
        status = 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started = time.monotonic()
        if counts:
            self._activity.begin()
        try:
            await self._app(scope, receive, noting)
        finally:
            if counts:
                self._activity.end()
            spent_ms = (time.monotonic() - started) * 1000
            level = logging.INFO if scope["path"] not in _OPEN_PATHS else logging.DEBUG
            _log.log(level, "%s %s %s %.1f ms", scope["method"], scope["path"], status, spent_ms)

    def _allows(self, authorization: str) -> bool:
        kind, _, token = authorization.partition(" ")
        # Hashes have one length, and comparing them takes the same time wherever they differ.
        same = hmac.compare_digest(hashlib.sha256(token.strip().encode()).digest(), self._token_hash)
        return kind.lower() == "bearer" and same


def _declared_length(headers: Headers) -> int:
    declared = headers.get("content-length", "0")
    return int(declared) if declared.isdigit() else 0


def _limited(receive: Receive, limit: int) -> Receive:
    taken = 0

    async def limited() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > limit:
            raise BodyTooLarge(limit)
        return message

    return limited

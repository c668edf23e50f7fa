"""Back-pressure for large request bodies: at most BUDGET_BYTES of them are in memory at once.

A request that does not fit waits with its body unread, so that TCP slows its sender; after MAX_WAIT_S it gets a 503.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from starlette.requests import ClientDisconnect, Request

from interfaces.http_conventions.bodies import MAX_BODY_BYTES, discard
from interfaces.http_conventions.problems import unavailable

SMALL_BODY_BYTES = 64 * 1024
"""A body up to this size never waits, so that a cancel gets through while large bodies queue."""
BUDGET_BYTES = MAX_BODY_BYTES + MAX_BODY_BYTES // 2
"""While it is handled, a body takes about four times its size: decoded, as events, encoded, on its way to Postgres."""
MAX_WAIT_S = 20.0
RETRY_AFTER_S = 5


class BodyBudget:
    """At most `size` bytes of bodies are read and handled at once; further ones wait in order, `max_wait_s` at most."""

    def __init__(self, size: int = BUDGET_BYTES, max_wait_s: float = MAX_WAIT_S) -> None:
        self._free, self._patience_s = size, max_wait_s
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def reserved(self, request: Request) -> AsyncIterator[None]:
        """Hold the bytes of a request's body. Raises Problem 503 `too_busy` when none are free in time."""
        size = _declared_size(request)
        if size <= SMALL_BODY_BYTES:
            yield
            return
        try:
            await self._reserve(size)
        except TimeoutError:
            with suppress(ClientDisconnect, TimeoutError):
                async with asyncio.timeout(self._patience_s):
                    await discard(request.stream())
            raise unavailable(
                f"more large requests come in than can be handled; send this one again in {RETRY_AFTER_S} s, "
                "or less at once",
                reason="too_busy",
                retry_after_s=RETRY_AFTER_S,
            ) from None
        try:
            yield
        finally:
            self._free += size
            self._admit()

    async def _reserve(self, size: int) -> None:
        """Raises TimeoutError."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        self._admit()
        try:
            async with asyncio.timeout(self._patience_s):
                await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._free += size
            else:
                turn.cancel()
            self._admit()
            raise

    def _admit(self) -> None:
        while self._waiting:
            size, turn = self._waiting[0]
            if not turn.cancelled():
                if size > self._free:
                    return
                self._free -= size
                turn.set_result(None)
            self._waiting.popleft()


def _declared_size(request: Request) -> int:
    """The body's size in bytes by its headers; the maximum for a chunked one."""
    declared = request.headers.get("content-length", "")
    if not declared and "transfer-encoding" not in request.headers:
        return 0
    return min(int(declared), MAX_BODY_BYTES) if declared.isdigit() else MAX_BODY_BYTES

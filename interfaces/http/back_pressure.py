"""Room for large request bodies: whoever finds none waits with its body unread, and is asked to come back later when
that takes too long. So a flood of callbacks costs its senders time, and this process bounded memory."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from starlette.requests import ClientDisconnect, Request

from interfaces.http.bodies import MAX_BODY_BYTES, discard
from interfaces.http.problems import unavailable

SMALL_BODY_BYTES = 64 * 1024
"""A body up to this never waits: a cancel gets through a flood."""
ROOM_BYTES = 4 * MAX_BODY_BYTES
PATIENCE_S = 20.0
RETRY_AFTER_S = 5


class BodyRoom:
    """At most `size` bytes of bodies are read and handled at once; others wait in line, `patience_s` at most."""

    def __init__(self, size: int = ROOM_BYTES, patience_s: float = PATIENCE_S) -> None:
        self._free, self._patience_s = size, patience_s
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def taken(self, request: Request) -> AsyncIterator[None]:
        """Hold the room for a request's body. Raises Problem 503."""
        size = _declared(request)
        if size <= SMALL_BODY_BYTES:
            yield
            return
        try:
            await self._take(size)
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
            self._let_in()

    async def _take(self, size: int) -> None:
        """Raises TimeoutError."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        self._let_in()
        try:
            async with asyncio.timeout(self._patience_s):
                await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._free += size
            else:
                turn.cancel()
            self._let_in()
            raise

    def _let_in(self) -> None:
        while self._waiting:
            size, turn = self._waiting[0]
            if not turn.cancelled():
                if size > self._free:
                    return
                self._free -= size
                turn.set_result(None)
            self._waiting.popleft()


def _declared(request: Request) -> int:
    """How long the body will be; as long as possible where its sender does not say."""
    declared = request.headers.get("content-length", "")
    if not declared and "transfer-encoding" not in request.headers:
        return 0
    return min(int(declared), MAX_BODY_BYTES) if declared.isdigit() else MAX_BODY_BYTES

"""Large responses: sent piece by piece, as fast as the client takes them, and bounded in memory over all clients.

When those that are being sent hold more than MAX_HELD_BYTES, the oldest of them, whose reader is the slowest, is cut
off: who asks now is served. A reader that takes next to nothing is cut off earlier (bounded_protocol.py).
"""

import asyncio
import logging
from dataclasses import dataclass

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

LARGE_BYTES = 256 * 1024
PIECE_BYTES = 64 * 1024
MAX_HELD_BYTES = 64 * 1024 * 1024
log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Sending:
    size: int
    task: "asyncio.Task[None] | None"
    cut: bool = False


class LargeAnswers:
    """Sends the responses of this process whose body is in memory."""

    def __init__(self, max_held_bytes: int = MAX_HELD_BYTES) -> None:
        self._max_held = max_held_bytes
        self._sending: dict[_Sending, None] = {}
        self._held = 0

    async def send(self, response: Response, scope: Scope, receive: Receive, send: Send) -> None:
        body = getattr(response, "body", b"")
        if len(body) <= LARGE_BYTES or scope["method"] == "HEAD":
            await response(scope, receive, send)
            return
        sending = _Sending(len(body), asyncio.current_task())
        self._sending[sending] = None
        self._held += sending.size
        self._cut_oldest()
        try:
            await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
            for start in range(0, len(body), PIECE_BYTES):
                piece, more = body[start : start + PIECE_BYTES], start + PIECE_BYTES < len(body)
                await send({"type": "http.response.body", "body": piece, "more_body": more})
        except asyncio.CancelledError:
            if not sending.cut:
                raise
            log.warning("a response of %d bytes was cut off: its reader is the slowest of too many", sending.size)
        finally:
            del self._sending[sending]
            self._held -= sending.size

    def _cut_oldest(self) -> None:
        held = self._held
        for sending in list(self._sending)[:-1]:
            if held <= self._max_held:
                return
            held -= sending.size
            if not sending.cut and sending.task is not None:
                sending.cut = True
                sending.task.cancel()

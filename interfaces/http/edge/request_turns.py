"""How many requests begin in one turn of the event loop.

A thousand that come at the same moment would each be looked at before anybody else has a turn: live streams, and the
answers of the database.
"""

import asyncio
from collections import deque

from starlette.types import ASGIApp, Receive, Scope, Send

from interfaces.http.edge.rates import WITHOUT_LIMIT

AT_ONCE = 16
"""Requests; to refuse one takes about half a millisecond, and to begin one not much more."""


class BeginInTurns:
    """Middleware, outermost: further requests begin in one of the next turns, in their order. `/health` and `/ready` do
    not wait."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._begun = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in WITHOUT_LIMIT:
            if self._begun < AT_ONCE:
                self._count()
            else:
                turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._waiting.append(turn)
                await turn
        await self._app(scope, receive, send)

    def _count(self) -> None:
        if not self._begun:
            asyncio.get_running_loop().call_soon(self._next_turn)
        self._begun += 1

    def _next_turn(self) -> None:
        self._begun = 0
        while self._waiting and self._begun < AT_ONCE:
            turn = self._waiting.popleft()
            if not turn.done():
                self._count()
                turn.set_result(None)

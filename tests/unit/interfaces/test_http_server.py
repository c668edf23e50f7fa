"""The HTTP server of either program: idle, it costs nothing; asked, its responses carry the time."""

import asyncio
import contextlib
import selectors
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from interfaces.http_conventions.server import HttpServer, listening, url_of
from tests.support.async_run import run


class CountingSelector(selectors.DefaultSelector):
    """Counts how often its event loop wakes up."""

    wakeups = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.wakeups += 1
        return super().select(timeout)


@contextlib.asynccontextmanager
async def serving(app: ASGIApp | None = None, **options: Any) -> AsyncIterator[str]:
    with listening("127.0.0.1", 0) as listener:
        started = asyncio.Event()
        server = HttpServer(app or Starlette(), shutdown_s=5, started=started.set, **options)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        await started.wait()
        yield url_of(listener)
        server.end()
        await asyncio.wait_for(task, 10)


def test_a_server_that_nobody_asks_never_wakes_up() -> None:
    selector = CountingSelector()

    async def scenario() -> int:
        async with serving():
            before = selector.wakeups
            await asyncio.sleep(1)
            return selector.wakeups - before

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        assert runner.run(scenario()) <= 2


def test_every_response_is_dated() -> None:
    async def scenario() -> None:
        async with serving() as url, httpx.AsyncClient(base_url=url) as client:
            for _ in range(2):
                date = parsedate_to_datetime((await client.get("/")).headers["date"])
                assert abs(datetime.now(UTC) - date) < timedelta(minutes=1)

    run(scenario())


class Clients(contextlib.AsyncExitStack):
    """Connections to a server, closed at the end."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._parts = urlsplit(url)

    async def connect(self, sent: bytes = b"") -> asyncio.StreamReader:
        reader, writer = await asyncio.open_connection(self._parts.hostname, self._parts.port)
        self.push_async_callback(writer.wait_closed)
        self.callback(writer.close)
        writer.write(sent)
        return reader

    async def ask(self) -> asyncio.StreamReader:
        return await self.connect(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")


def test_beyond_its_connections_the_one_that_is_idle_longest_makes_room_and_busy_ones_stay() -> None:
    async def scenario() -> None:
        may_answer, busy = asyncio.Event(), asyncio.Semaphore(0)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            busy.release()
            await may_answer.wait()
            await PlainTextResponse("done")(scope, receive, send)

        async with serving(app, max_connections=3) as url, Clients(url) as clients:
            working, idle, later = await clients.ask(), await clients.connect(), await clients.connect()
            await busy.acquire()
            new = await clients.ask()
            assert await idle.read() == b""  # closed
            await busy.acquire()
            newest = await clients.ask()
            assert await later.read() == b""
            await busy.acquire()

            answer = await (await clients.connect()).read()
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"retry-after: 5" in answer

            may_answer.set()
            for reader in (working, new, newest):
                assert await reader.readuntil(b"done")
            last = await clients.ask()  # all others are idle now: one of them makes room
            assert await last.readuntil(b"done")
            assert await working.read() == b""

    run(scenario())

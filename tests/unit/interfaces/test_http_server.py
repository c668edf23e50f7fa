"""The HTTP server of either program: idle, it costs nothing; asked, its responses carry the time."""

import asyncio
import contextlib
import selectors
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx
from starlette.applications import Starlette

from interfaces.http_conventions.server import HttpServer, listening, url_of
from tests.support.async_run import run


class CountingSelector(selectors.DefaultSelector):
    """Counts how often its event loop wakes up."""

    wakeups = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.wakeups += 1
        return super().select(timeout)


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[str]:
    with listening("127.0.0.1", 0) as listener:
        started = asyncio.Event()
        server = HttpServer(Starlette(), shutdown_s=5, started=started.set)
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

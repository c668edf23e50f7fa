"""Requests that come at the same moment begin in turns, and others have theirs in between."""

import asyncio
from itertools import pairwise
from typing import Any

from starlette.types import Receive, Scope, Send

from interfaces.http.edge.request_turns import AT_ONCE, BeginInTurns
from tests.support.async_run import run


class Application:
    """Remembers which requests have begun."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.server = BeginInTurns(self)

    async def __call__(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        self.begun.append(scope["path"])

    def request(self, path: str) -> asyncio.Task[None]:
        return asyncio.create_task(self.server({"type": "http", "path": path}, _receive, _send))


async def _receive() -> Any:
    raise NotImplementedError


async def _send(_message: Any) -> None:
    raise NotImplementedError


async def begun_by_turn(application: Application, number: int) -> list[int]:
    """How many have begun after each turn of the loop, until so many have."""
    counts = [len(application.begun)]
    while counts[-1] < number:
        await asyncio.sleep(0)
        counts.append(len(application.begun))
        assert len(counts) < 10 * number
    return counts


def test_requests_that_come_together_begin_in_their_order_a_few_in_each_turn() -> None:
    async def scene() -> None:
        application, paths = Application(), [f"/{number}" for number in range(10 * AT_ONCE + 3)]
        requests = [application.request(path) for path in paths]
        counts = await begun_by_turn(application, len(paths))
        assert all(after - before <= AT_ONCE for before, after in pairwise(counts))
        assert application.begun == paths
        await asyncio.gather(*requests)

    run(scene())


def test_a_probe_waits_for_no_other_request() -> None:
    async def scene() -> None:
        application = Application()
        requests = [application.request(f"/{number}") for number in range(5 * AT_ONCE)]
        requests += [application.request("/health"), application.request("/ready")]
        await asyncio.sleep(0)
        assert application.begun[AT_ONCE:] == ["/health", "/ready"]
        await asyncio.gather(*requests)

    run(scene())


def test_requests_that_are_given_up_while_they_wait_hold_up_nobody() -> None:
    async def scene() -> None:
        application = Application()
        requests = [application.request(f"/{number}") for number in range(4 * AT_ONCE)]
        await asyncio.sleep(0)
        for request in requests[AT_ONCE : 3 * AT_ONCE]:
            request.cancel()
        await asyncio.gather(*requests, return_exceptions=True)
        assert len(application.begun) == 2 * AT_ONCE

    run(scene())


def test_later_requests_begin_at_once() -> None:
    async def scene() -> None:
        application = Application()
        await asyncio.gather(*(application.request(f"/{number}") for number in range(3 * AT_ONCE)))
        await asyncio.sleep(0)
        request = application.request("/later")
        await asyncio.sleep(0)
        assert application.begun[-1] == "/later"
        await request

    run(scene())

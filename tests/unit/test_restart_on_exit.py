"""An embedded server that has ended is started again, for as long as somebody wants it."""

import asyncio

import pytest

from infrastructure.embedded import restart_on_exit
from tests.support.async_run import run


class StartsForEver:
    """A server that has ended, and whose start neither succeeds nor heeds its first cancellation."""

    title = "Postgres"

    def __init__(self) -> None:
        self.starting = asyncio.Event()
        self.lost = 0

    def has_ended(self) -> bool:
        return True

    async def start_again(self) -> None:
        self.starting.set()
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if self.lost:
                    raise
                self.lost += 1


def test_leaving_it_ends_a_start_that_loses_its_cancellation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries lose one that arrives together with their result; see application/task_cancellation.py."""
    monkeypatch.setattr(restart_on_exit, "CHECK_INTERVAL_S", 0.0)
    monkeypatch.setattr(restart_on_exit, "CLEAR_UP_S", 0.01)

    async def scene() -> bool:
        server = StartsForEver()
        watch = restart_on_exit.restart_on_exit(server)
        await watch.__aenter__()
        await server.starting.wait()
        leaving = asyncio.ensure_future(watch.__aexit__(None, None, None))
        ended, _ = await asyncio.wait({leaving}, timeout=20)
        leaving.cancel()
        return bool(ended) and server.lost == 1

    assert run(scene(), timeout=60)

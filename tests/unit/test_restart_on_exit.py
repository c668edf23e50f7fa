"""An embedded server that has ended is started again, for as long as somebody wants it."""

import asyncio

import pytest

from infrastructure.embedded import restart_on_exit
from tests.support.async_run import run
from tests.support.lost_cancellation import LosesOneCancellation, ends_in_time


class StartsForEver:
    """A server that has ended, and whose start does not succeed."""

    title = "Postgres"

    def __init__(self, starting: LosesOneCancellation) -> None:
        self._starting = starting

    def has_ended(self) -> bool:
        return True

    async def start_again(self) -> None:
        await self._starting.wait()


class CanNotBeLookedAt:
    """A server that has ended, of which the system does not tell that at the first look."""

    title = "Postgres"

    def __init__(self) -> None:
        self.looks = 0
        self.started = asyncio.Event()

    def has_ended(self) -> bool:
        self.looks += 1
        if self.looks == 1:
            raise OSError(24, "Too many open files")
        return not self.started.is_set()

    async def start_again(self) -> None:
        self.started.set()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restart_on_exit, "CHECK_INTERVAL_S", 0.0)
    monkeypatch.setattr(restart_on_exit, "CLEAR_UP_S", 0.01)


def test_leaving_it_ends_a_start_that_loses_its_cancellation() -> None:
    async def scene() -> int:
        starting = LosesOneCancellation()
        watch = restart_on_exit.restart_on_exit(StartsForEver(starting))
        await watch.__aenter__()
        await starting.begun.wait()

        async def leave() -> None:
            await watch.__aexit__(None, None, None)

        assert await ends_in_time(asyncio.create_task(leave()))
        return starting.lost

    assert run(scene(), timeout=60) == 1


def test_a_look_at_the_server_that_fails_does_not_end_the_watch() -> None:
    async def scene() -> None:
        server = CanNotBeLookedAt()
        async with restart_on_exit.restart_on_exit(server):
            await server.started.wait()

    run(scene(), timeout=20)

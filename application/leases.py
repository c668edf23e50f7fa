"""Work under leases: claimed in a loop, its lease renewed while it goes on and given back when it is cancelled."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any, Generic, TypeVar

from application.task_cancellation import cancel_and_wait

log = logging.getLogger(__name__)
Result = TypeVar("Result")
IDLE_WAIT_S = 5.0
PAUSE_AFTER_ERROR_S = 1.0
RELEASE_TIMEOUT_S = 5.0


class LeaseLost(Exception):
    """Somebody else holds the lease by now."""


class ClaimLoop(Generic[Result]):
    """`run` claims work until it is cancelled; the tasks under way are cancelled with it. `claim` claims at most so
    many pieces of work, starts each with `start` and returns their number. `what`: their name in the log, a plural."""

    def __init__(
        self,
        what: str,
        *,
        claim: Callable[[int], Awaitable[int]],
        wait_for_work: Callable[[float], Awaitable[None]],
        concurrency: int,
    ) -> None:
        self._what, self._claim, self._wait_for_work, self.concurrency = what, claim, wait_for_work, concurrency
        self._tasks: set[asyncio.Task[Result]] = set()

    @property
    def under_way(self) -> list[str]:
        """The names of the tasks that have not ended."""
        return [task.get_name() for task in self._tasks]

    def start(self, work: Coroutine[Any, Any, Result], *, name: str) -> asyncio.Task[Result]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def run(self) -> None:
        try:
            while True:
                try:
                    await self._claim_some()
                except Exception:
                    log.exception("%s could not be claimed; trying again", self._what)
                    await asyncio.sleep(PAUSE_AFTER_ERROR_S)
        finally:
            await cancel_and_wait(self._tasks, again_after_s=RELEASE_TIMEOUT_S + 1)

    async def _claim_some(self) -> None:
        free = self.concurrency - len(self._tasks)
        if free <= 0:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        elif await self._claim(free) < free:
            await self._wait_for_work(IDLE_WAIT_S)


async def under_lease(
    work: Coroutine[Any, Any, Result], *, renew: Callable[[], Awaitable[bool]], duration: timedelta, name: str
) -> Result:
    """The result of `work`. Its lease is renewed after each third of its `duration`; when that fails, the work is
    cancelled and, once it has ended, LeaseLost is raised."""
    task = asyncio.create_task(work, name=name)
    try:
        while True:
            done, _ = await asyncio.wait({task}, timeout=duration.total_seconds() / 3)
            if done:
                return task.result()
            if not await renew() and not task.done():
                raise LeaseLost
    finally:
        await cancel_and_wait([task])


@contextlib.asynccontextmanager
async def released_if_cancelled(release: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Gives a lease back if the task is cancelled inside, within RELEASE_TIMEOUT_S seconds; else it runs out."""
    try:
        yield
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(RELEASE_TIMEOUT_S):
                await release()
        raise

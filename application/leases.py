"""Work under leases: claimed in a loop, its lease renewed while it goes on and given back when it is cancelled."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from datetime import timedelta
from typing import Any, Generic, TypeVar

from application.task_cancellation import cancel_and_wait

log = logging.getLogger(__name__)
Slot = TypeVar("Slot", bound=str)
Result = TypeVar("Result")
IDLE_WAIT_S = 5.0
PAUSE_AFTER_ERROR_S = 1.0
RELEASE_TIMEOUT_S = 5.0


class LeaseLost(Exception):
    """Somebody else holds the lease by now."""


class ClaimLoop(Generic[Slot, Result]):
    """`run` claims work until it is cancelled; the tasks under way are cancelled with it. `slots`: how many pieces of
    work of each kind go on at once. `claim` is given the free slots, claims at most so much work, starts each piece
    with `start`, and returns how many of each kind there were. `what`: their name in the log, a plural."""

    def __init__(
        self,
        what: str,
        *,
        claim: Callable[[Mapping[Slot, int]], Awaitable[Mapping[Slot, int]]],
        wait_for_work: Callable[[float], Coroutine[Any, Any, None]],
        slots: Mapping[Slot, int],
    ) -> None:
        self._what, self._claim, self._wait_for_work, self._slots = what, claim, wait_for_work, slots
        self._tasks: dict[asyncio.Task[Result], Slot] = {}

    @property
    def under_way(self) -> list[str]:
        """The names of the tasks that have not ended."""
        return [task.get_name() for task in self._tasks]

    def start(self, work: Coroutine[Any, Any, Result], slot: Slot, *, name: str) -> asyncio.Task[Result]:
        task = asyncio.create_task(work, name=name)
        self._tasks[task] = slot
        task.add_done_callback(lambda ended: self._tasks.pop(ended, None))
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
        free = self._free()
        if free:
            claimed = await self._claim(free)
            if any(claimed.get(slot, 0) >= number for slot, number in free.items()):
                return  # there may be more to claim
        full = [task for task, slot in self._tasks.items() if slot not in free]
        if not full:
            await self._wait_for_work(IDLE_WAIT_S)
            return
        waiting: list[asyncio.Task[None]] = [asyncio.create_task(self._wait_for_work(IDLE_WAIT_S))] if free else []
        try:
            await asyncio.wait([*full, *waiting], return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel_and_wait(waiting)

    def _free(self) -> dict[Slot, int]:
        """The free slots of each kind that has any."""
        used = Counter(self._tasks.values())
        return {slot: number - used[slot] for slot, number in self._slots.items() if number > used[slot]}


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

"""Turns on the event loop, measured in time: long work passes the turn on to other tasks when its own is over."""

import asyncio
import time
from collections.abc import Callable

TURN_SECONDS = 0.01
"""How long work holds the loop at a stretch. One step of it, such as a fold, may take it beyond that."""


class Share:
    """A part of the loop's time, for all the work that takes its turns by it: one of them has its turn at a time, and
    then all rest, `rest` times as long. What is short, and waits for the database several times on its way, would else
    wait for a turn of each of them every time."""

    def __init__(self, rest: float = 1.0) -> None:
        self._rest, self._free_at = rest, 0.0

    def rest(self, now: float, took: float) -> float:
        """The seconds until the next turn of work whose turn is over now and `took` so long."""
        begins = max(now + self._rest * took, self._free_at)
        self._free_at = begins + (1 + self._rest) * TURN_SECONDS
        return begins - now


LARGE_BODIES = Share(rest=3.0)
"""A quarter: what follows from a body (commit, tail, projections, index) takes about twice as long again."""


class Turn:
    """Ask `over` after each step of the work, and await `next` when it says so. `share`: what bounds the work's part of
    the loop; without one it goes on as soon as all others that were ready have had a turn."""

    def __init__(
        self,
        seconds: float = TURN_SECONDS,
        clock: Callable[[], float] = time.perf_counter,
        share: Share | None = None,
    ) -> None:
        self._seconds, self._clock, self._share = seconds, clock, share
        self._ends = clock() + seconds

    @property
    def over(self) -> bool:
        return self._clock() >= self._ends

    async def next(self) -> None:
        """Let other tasks run, then begin another turn."""
        now = self._clock()
        rest = self._share.rest(now, now - self._ends + self._seconds) if self._share else 0
        await asyncio.sleep(rest)
        self._ends = self._clock() + self._seconds

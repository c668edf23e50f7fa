"""Turns on the event loop, measured in time: long work passes the turn on to other tasks when its own is over."""

import asyncio
import time
from collections.abc import Callable

TURN_SECONDS = 0.01
"""How long work holds the loop at a stretch. One step of it, such as a fold, may take it beyond that."""


class Turn:
    """Ask `over` after each step of the work, and await `next` when it says so."""

    def __init__(self, seconds: float = TURN_SECONDS, clock: Callable[[], float] = time.perf_counter) -> None:
        self._seconds, self._clock = seconds, clock
        self._ends = clock() + seconds

    @property
    def over(self) -> bool:
        return self._clock() >= self._ends

    async def next(self) -> None:
        """Let other tasks run, then begin another turn."""
        await asyncio.sleep(0)
        self._ends = self._clock() + self._seconds

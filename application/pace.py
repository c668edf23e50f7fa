"""The pace of work that is not urgent: while its process has other work, it takes a small part of the time."""

import asyncio
import time
from collections.abc import Callable

BUSY = 0.05
"""Of one processor, for other work. Little, since on a crowded machine a busy process gets no more."""
RESTS, RESTS_WHEN_LATE = 30.0, 4.0
"""How many times as long as it has worked such work rests, then."""
LONGEST_REST_S = 5.0


class Pace:
    """`late`: the work is far behind, so that it takes more of the time. `clock` and `cpu`: seconds of time, and of
    this process's processor time."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, cpu: Callable[[], float] = time.process_time
    ) -> None:
        self._clock, self._cpu = clock, cpu
        self._at, self._used, self._own = clock(), cpu(), 0.0
        self.late = False

    async def rest(self, spent_s: float) -> None:
        """To be called after `spent_s` seconds of processor time of such work."""
        pause_s = self.pause_s(spent_s)
        if pause_s > 0:
            await asyncio.sleep(pause_s)

    def pause_s(self, spent_s: float) -> float:
        self._own += spent_s
        now, used = self._clock(), self._cpu()
        others = used - self._used - self._own
        busy = others > BUSY * (now - self._at)
        self._at, self._used, self._own = now, used, 0.0
        rests = RESTS_WHEN_LATE if self.late else RESTS
        return min(rests * spent_s, LONGEST_REST_S) if busy else 0.0

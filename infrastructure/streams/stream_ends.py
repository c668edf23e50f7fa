"""The last seqs of streams, as far as this process has seen, and the callers that wait for new events in them."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

MAX_STREAMS = 65_536
LONGEST_GAP_SECONDS = 60.0
"""The longest time that may pass between a caller's read of a stream and its `wait`."""


class StreamEnds:
    """Remembers the last seqs of the `max_streams` streams that got an event most recently."""

    def __init__(self, *, max_streams: int = MAX_STREAMS, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_streams, self._clock = max_streams, clock
        self._ends: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._forgotten_at = float("-inf")
        self._waiting: dict[str, dict[asyncio.Future[int], int]] = {}

    def advance(self, ends: dict[str, int]) -> None:
        """Remember new last seqs, by stream, and wake the callers that wait for them."""
        now = self._clock()
        for stream, seq in ends.items():
            self._ends[stream] = (seq, now)
            self._ends.move_to_end(stream)
            for waiting, after_seq in self._waiting.get(stream, {}).items():
                if after_seq < seq and not waiting.done():
                    waiting.set_result(seq)
        while len(self._ends) > self._max_streams:
            self._forgotten_at = self._ends.popitem(last=False)[1][1]

    async def wait(self, stream: str, after_seq: int, timeout: float, last_seq: Callable[[str], Awaitable[int]]) -> int:
        """The last known seq of `stream` as soon as it is greater than `after_seq`, which the caller has just read; 0
        after `timeout` seconds. `last_seq` reads the log; it is called only if so many streams got events lately that
        this one's last seq may have been forgotten between the caller's read and this call."""
        known = self._ends.get(stream)
        if known is not None and known[0] > after_seq:
            return known[0]
        woken: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(stream, {})[woken] = after_seq
        try:
            async with asyncio.timeout(timeout):
                may_be_forgotten = known is None and self._clock() - self._forgotten_at < LONGEST_GAP_SECONDS
                if may_be_forgotten and (last := await last_seq(stream)) > after_seq:
                    return last
                return await woken
        except TimeoutError:
            return 0
        finally:
            del self._waiting[stream][woken]
            if not self._waiting[stream]:
                del self._waiting[stream]

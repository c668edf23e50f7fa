"""Waiting until a row of a table of work, such as the run queue, becomes due."""

import asyncio

from infrastructure.postgres.listener import ChannelSignal

SHORTEST_WAIT_SECONDS = 0.05


class NextDue:
    """When the next row of a table of work becomes due, as the last claim reported."""

    def __init__(self, signal: ChannelSignal) -> None:
        self._signal = signal
        self._at: float | None = None

    def set(self, due_in: float | None) -> None:
        """`due_in`: seconds until the next row is due; ≤ 0 if due now; None if nothing is scheduled."""
        self._at = None if due_in is None else asyncio.get_running_loop().time() + max(due_in, SHORTEST_WAIT_SECONDS)

    async def wait(self, timeout_s: float) -> None:
        """Return on a notification, when the next row is due, or after `timeout_s` seconds."""
        if self._at is not None:
            timeout_s = min(timeout_s, max(self._at - asyncio.get_running_loop().time(), 0))
        await self._signal.wait(timeout_s)

    def wake(self) -> None:
        """This process has made a row due."""
        self._signal.wake()

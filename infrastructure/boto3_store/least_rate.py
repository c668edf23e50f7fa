"""How slow the body of a session worker's request may come, or an answer be read: a place of the proxy is held
meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from infrastructure.boto3_store.worker_requests import Refused

PATIENCE_S = 30.0
LEAST_BYTES_PER_S = 32 * 1024
"""After PATIENCE_S, on average of the time that the session worker is waited for: the store's own does not count."""
Result = TypeVar("Result")


class LeastRate:
    """Of one body. `clock` is in seconds."""

    def __init__(self, what: str, clock: Callable[[], float]) -> None:
        self._what, self._clock = what, clock
        self._waited, self._bytes = 0.0, 0

    def moved(self, count: int) -> None:
        self._bytes += count

    async def wait(self, step: Awaitable[Result]) -> Result:
        """What the next step of the session worker gives. Raises Refused (RequestTimeout) if that takes too long."""
        began = self._clock()
        try:
            async with asyncio.timeout(max(self._left(), 0.0)):
                result = await step
        except TimeoutError:
            raise self._too_slow() from None
        self._waited += self._clock() - began
        if self._left() < 0:
            raise self._too_slow()
        return result

    def _left(self) -> float:
        return PATIENCE_S + self._bytes / LEAST_BYTES_PER_S - self._waited

    def _too_slow(self) -> Refused:
        return Refused(
            400,
            "RequestTimeout",
            f"{self._what} so slowly that its place is given to others: {self._bytes} bytes; after {PATIENCE_S:g} s "
            f"at least {LEAST_BYTES_PER_S // 1024} KiB a second are expected",
        )

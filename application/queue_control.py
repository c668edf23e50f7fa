"""The run queue as the API sees it."""

from typing import Protocol

from application.run_queue import DrainCounts, QueueItem


class QueueControl(Protocol):
    """Reads and works the queue of runs."""

    async def drain(
        self, *, owner: str, limit: int, lock_ms: int | None, retry_delay_ms: int | None, wait_s: float
    ) -> DrainCounts:
        """Claim up to `limit` runs and work them to their end, as a resident worker does; those still under way
        after `wait_s` go on and are counted as claimed alone. `owner` may be empty; None: the settings' value."""
        ...

    async def item(self, run_id: str) -> QueueItem | None: ...

"""The run queue as the API sees it."""

from typing import Any, Protocol

import msgspec


class DrainCounts(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What became of the runs that this drain claimed. `position`: where the log stood at its end. `pending`: some were
    still under way when the wait ended."""

    claimed: int = 0
    succeeded: int = 0
    retried: int = 0
    failed: int = 0
    canceled: int = 0
    position: int = 0
    pending: bool = False


class QueueControl(Protocol):
    """Reads and works the queue of runs."""

    async def drain(
        self, *, owner: str, limit: int, lock_ms: int | None, retry_delay_ms: int | None, wait_s: float
    ) -> DrainCounts:
        """Claim up to `limit` runs and work them to their end, as a resident worker does. None: the settings' value."""
        ...

    async def item(self, run_id: str) -> dict[str, Any] | None:
        """The queue's row of a run in wire form (camelCase, JSON values), None when it has none."""
        ...

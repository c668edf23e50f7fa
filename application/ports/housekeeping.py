"""Which sessions are due for housekeeping."""

from datetime import datetime
from typing import Protocol


class HousekeepingCandidates(Protocol):
    """Session ids from the read models, the longest waiting first; every one is checked again on its own stream.
    Workers whose syncs have failed come last, and, without `failing_too`, only after pauses that grow with the
    failures."""

    async def idle_workers(self, *, idle_before: datetime, limit: int, failing_too: bool) -> list[str]:
        """Running, last active before then; no run attached, no stop under way, no open question of its runs."""
        ...

    async def stopped_workers(self, *, stopped_before: datetime, limit: int, failing_too: bool) -> list[str]:
        """Stopped before then, no removal under way."""
        ...

    async def unsynced_workers(self, *, synced_before: datetime, limit: int) -> list[str]:
        """Running, last synced successfully (or created) before then, no sync and no stop under way; those whose syncs
        fail only after pauses."""
        ...

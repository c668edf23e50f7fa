"""The port of the run queue. Its rows are operational data and can be restored from the log."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

EXTERNAL_RUN_ATTEMPTS = 5


def external_run_key(run_id: str) -> str:
    """Under what an external run whose agent has ended is queued: it must not hold back other runs of its session."""
    return f"outside {run_id}"


class RunLease(msgspec.Struct, frozen=True, kw_only=True):
    """The right to execute a run. `generation` grows with every claim of this run: the stream fences older ones.
    `taken_from`: the previous holder, if its lease had expired."""

    run_id: str
    owner: str
    generation: int
    taken_from: str = ""


class QueueItem(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A row of the queue. Times are ISO 8601 UTC."""

    run_id: str
    session_id: str
    state: str
    position: int
    attempts: int
    max_attempts: int
    available_at: str
    lease_owner: str | None = None
    lease_generation: int = 0
    lease_expires_at: str | None = None


class LostRun(msgspec.Struct, frozen=True, kw_only=True):
    """What the log says of a run whose row is missing. `position`: of its first event. `available_at`: when it is
    due."""

    run_id: str
    session_id: str
    position: int
    attempts: int
    max_attempts: int
    lease_generation: int
    available_at: datetime | None = None


class DrainCounts(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    claimed: int = 0
    succeeded: int = 0
    retried: int = 0
    failed: int = 0
    canceled: int = 0


class RunQueue(Protocol):
    async def claim(self, *, owner: str, limit: int, lease: timedelta, only_stale: bool = False) -> Sequence[RunLease]:
        """Claim the oldest due run of each session that has none running, at most `limit`; the claims are committed.
        `only_stale`: none but those whose lease has run out."""
        ...

    async def renew(self, lease: RunLease, duration: timedelta) -> bool:
        """False if the lease is lost."""
        ...

    async def release(self, lease: RunLease, delay: timedelta) -> None:
        """Give the run back, to be claimed again after `delay`. Changes nothing if the lease is lost."""
        ...

    async def item(self, run_id: str) -> QueueItem | None: ...

    async def missing(self, limit: int) -> Sequence[str]:
        """The ids of unfinished runs that are not in the queue, at most `limit`, the oldest first."""
        ...

    async def restore(self, lost: LostRun) -> bool:
        """Put a run back; False when it is there by now."""
        ...

    async def wait_for_work(self, timeout_s: float) -> None:
        """Return when something may have become due, or after `timeout_s`."""
        ...


class QueueItems(Protocol):
    async def item(self, run_id: str) -> QueueItem | None: ...


class QueueDrain(Protocol):
    async def drain(
        self, *, owner: str, limit: int, lease: timedelta | None, retry_delay: timedelta | None, wait_s: float
    ) -> DrainCounts:
        """Claim up to `limit` runs and work them to their end, as a run worker does; those still under way after
        `wait_s` go on and are counted as claimed alone. An empty `owner`, or None: as the run worker is
        configured."""
        ...

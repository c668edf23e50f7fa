"""The port of the run queue. Its rows are operational data and can be restored from the log."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal, Protocol

import msgspec

from domain.run.queue_share import QueueShare
from domain.run.values import WaitsFor

EXTERNAL_RUN_ATTEMPTS = 5


def external_run_key(run_id: str) -> str:
    """Under what an external run whose agent has ended is queued: it must not hold back other runs of its session."""
    return f"outside {run_id}"


class RunLease(msgspec.Struct, frozen=True, kw_only=True):
    """The right to execute a run. `generation` grows with every claim of this run: the stream fences older ones.
    `taken_from`: the previous holder, if its lease had expired. `ending`: the run was parked, and is to be ended.
    `trace_id`: of the event that put the run into the queue."""

    run_id: str
    owner: str
    generation: int
    taken_from: str = ""
    ending: bool = False
    trace_id: str = ""

    @property
    def name(self) -> str:
        """What its events name as their cause."""
        return f"lease/{self.run_id}/{self.generation}"


class ParkedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that waits, held by nobody since the lease of this generation."""

    run_id: str
    session_id: str
    waits_for: WaitsFor
    lease_generation: int


QueueWait = Literal["person", "place", "session", "retry", "resumption", "turn"]


class QueueItem(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A row of the queue: `state` is ready, leased, waiting (parked: nobody holds it) or done. Times are ISO 8601 UTC.
    `waitsFor`: a person's answer; a place among the session workers (`MAX_WORKERS`, `MAX_STARTING`); its session: an
    earlier run of it, or its worker; its next attempt; the resumption of the queue; or just its turn. Null if it does
    not wait. `place`: in the line for that, from 1, null where there is no line."""

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
    waits_for: QueueWait | None = None
    place: int | None = None


class LostRun(msgspec.Struct, frozen=True, kw_only=True):
    """What the log says of a run whose row is missing. `position`: of its first event. `available_at`: when it is
    due."""

    run_id: str
    session_id: str
    position: int
    attempts: int
    max_attempts: int
    lease_generation: int
    share: QueueShare
    available_at: datetime | None = None


class DrainCounts(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    claimed: int = 0
    succeeded: int = 0
    retried: int = 0
    failed: int = 0
    canceled: int = 0


class RunQueue(Protocol):
    async def claim(
        self, *, owner: str, limit: int, lease: timedelta, ending: int = 0, only_stale: bool = False
    ) -> Sequence[RunLease]:
        """Claim the oldest due run of each session that has none running, at most `limit`, those that were parked
        first; the claims are committed. `ending`: beyond that limit and all others, at most so many parked runs that
        are to be ended. `only_stale`: none but those whose lease has run out."""
        ...

    async def renew(self, lease: RunLease, duration: timedelta) -> bool:
        """False if the lease is lost."""
        ...

    async def release(self, lease: RunLease, delay: timedelta, *, begun: bool = True) -> None:
        """Give the run back, to be claimed again after `delay`; if it was not `begun`, the claim does not count.
        Changes nothing if the lease is lost."""
        ...

    async def item(self, run_id: str) -> QueueItem | None: ...

    async def missing(self, limit: int) -> Sequence[str]:
        """The ids of unfinished runs that are not in the queue, at most `limit`, the oldest first."""
        ...

    async def restore(self, lost: LostRun) -> bool:
        """Put a run back; False when it is there by now."""
        ...

    async def line_up_lost(self, limit: int) -> Sequence[str]:
        """Let runs be claimed that could be and are not in the queue's line, at most `limit`: after a deploy, say.
        Their ids."""
        ...

    async def wait_for_work(self, timeout_s: float) -> None:
        """Return when something may have become due, or after `timeout_s`."""
        ...

    async def wait_for_ending(self, timeout_s: float) -> None:
        """Return when a parked run may have been woken to be ended, or after `timeout_s`."""
        ...


class ParkedRuns(Protocol):
    async def claim_looks(self, limit: int) -> Sequence[ParkedRun]:
        """At most `limit` parked runs that are to be looked at now; no other process gets the same look."""
        ...

    async def wake(self, parked: ParkedRun) -> None:
        """Let it be claimed. Changes nothing if it is not parked as it was any more."""
        ...

    async def wait_for_look(self, timeout_s: float) -> None:
        """Return when a look may have become due, or after `timeout_s`."""
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

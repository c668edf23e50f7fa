"""Ports and results of operations: reconcilers, readiness, metrics."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec


class ReconcileCounts(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`examined` candidates, of which `acted` were acted on and `failed` could not be."""

    examined: int = 0
    acted: int = 0
    failed: int = 0
    position: int = 0


class ExpiredQuestions(Protocol):
    """From the read models; the run's own stream decides whether a question's time is really over."""

    async def expired_questions(self, *, now: datetime, limit: int) -> list[tuple[str, str]]:
        """(run id, question id) of open questions whose time was over at `now`, the longest overdue first. The cost
        does not depend on how many are open."""
        ...


class OverdueExternalRuns(Protocol):
    """From the read models; the run's own stream decides whether it is overdue."""

    async def overdue_external_runs(
        self, *, bound_before: datetime | None, silent_before: datetime | None, limit: int
    ) -> list[str]:
        """Ids of external runs that go on, and were bound before the one time or reported last before the other, the
        longest silent first. None: no limit."""
        ...


class ReadinessCheck(Protocol):
    """Whether one dependency works."""

    @property
    def name(self) -> str: ...

    async def check(self) -> str:
        """A detail for people, such as a version. Raises when it doesn't work."""
        ...


class Gauge(msgspec.Struct, frozen=True, kw_only=True):
    """One number of a metric, by its label values."""

    labels: Mapping[str, str]
    value: float


class MetricsSource(Protocol):
    """Numbers that are read at each scrape. Metric name (without the prefix `fleetlog_`) → help text, kind
    (`gauge` or `counter`) and samples; such as `projection_lag_events{projection}`, `open_streams`,
    `queue_depth{state}`, `effects{state}`, `events_appended_total`."""

    async def collect(self) -> Sequence["Metric"]: ...


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    help: str
    kind: str
    samples: tuple[Gauge, ...]


class Takeover(msgspec.Struct, frozen=True, kw_only=True):
    """Runs that were claimed because their lease had run out; the executions of `broken_off` of them failed again."""

    run_ids: tuple[str, ...] = ()
    broken_off: int = 0


class StaleRuns(Protocol):
    async def take_over(self, *, limit: int, wait_s: float) -> Takeover:
        """Claim at most `limit` runs whose lease has run out and go on with them; see RunWorker."""
        ...

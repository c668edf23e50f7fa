"""What an operator sees and starts from outside: reconcilers, readiness, metrics."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from application.command_context import CommandContext


class ReconcileCounts(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`examined` candidates, of which `acted` were acted on and `failed` could not be."""

    examined: int = 0
    acted: int = 0
    failed: int = 0
    position: int = 0


class Reconcilers(Protocol):
    """The scheduled reconcilers, run now."""

    async def runs(self, context: CommandContext, *, wait_s: float) -> ReconcileCounts:
        """Runs whose lease has expired or whose executor is gone."""
        ...

    async def sync(self, context: CommandContext, *, wait_s: float) -> ReconcileCounts:
        """Workers whose last successful sync is too old."""
        ...

    async def effects(self, context: CommandContext, *, wait_s: float) -> ReconcileCounts:
        """Effects whose worker is gone."""
        ...

    async def containers(self, context: CommandContext, *, wait_s: float) -> ReconcileCounts:
        """Containers of this installation that no session names as its current one."""
        ...


class ReadinessCheck(Protocol):
    """Whether one dependency works."""

    @property
    def name(self) -> str: ...

    async def check(self) -> str:
        """What a person wants to know of it, such as a version. Raises when it doesn't work."""
        ...


class Gauge(msgspec.Struct, frozen=True, kw_only=True):
    """One number of a metric, by its label values."""

    labels: Mapping[str, str]
    value: float


class MetricsSource(Protocol):
    """Numbers that are read when somebody scrapes. Metric name (without the prefix `fleetlog_`) → help text, kind
    (`gauge` or `counter`) and samples; such as `projection_lag_events{projection}`, `open_streams`,
    `queue_depth{state}`, `effects{state}`, `events_appended_total`."""

    async def collect(self) -> Sequence["Metric"]: ...


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    help: str
    kind: str
    samples: tuple[Gauge, ...]

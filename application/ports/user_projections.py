"""What operators see of users' own projections, which `fleetlog project` runs."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Protocol

import msgspec

MOST_COUNTED = 10_000
"""A lag of more events than this is not counted any further."""
MAX_SHOWN = 1000

State = Literal["running", "restarting", "stopped", "waiting", "not running"]


class ProjectionRefused(Exception):
    """The class is missing, or can't be run; the message says why."""


class SchemaRefused(ValueError):
    """It is no name of a schema, or the schema is not for users' views."""


class UserProjectionStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`status`: running, restarting (its process has ended and is started again after a pause), stopped (the event at
    `error_position` can't be processed), waiting (newer code wrote that event) or not running (nobody has reported for
    a while). `lag_events`: the events of its topics that it has not processed, at most MOST_COUNTED; `lag_is_more`:
    there are more; `lag_is_counted`: false, with a lag of 0, for one that has not run for a day. `lag_seconds`: since
    the first of them was recorded. `error`: what stops it, or ended its process last."""

    projection: str
    kind: Literal["user"] = "user"
    status: State
    position: int
    lag_events: int
    lag_is_more: bool
    lag_is_counted: bool = True
    lag_seconds: float
    holder: str | None
    restarts: int
    error: str | None
    error_position: int | None
    error_type: str | None
    projection_class: str
    view_class: str
    heartbeat_at: datetime

    @property
    def lag_text(self) -> str:
        """For people, such as `10,000+ events, 12.5 s`."""
        if not self.lag_is_counted:
            return "not counted"
        return f"{self.lag_events:,}{'+' if self.lag_is_more else ''} events, {self.lag_seconds:.1f} s"


class UserProjectionRecords(Protocol):
    async def status(self) -> Sequence[UserProjectionStatus]:
        """By name, at most MAX_SHOWN; those that have ever run on this database."""
        ...

    async def names(self) -> Sequence[str]:
        """The names of the same."""
        ...

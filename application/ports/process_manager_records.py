"""What operators see of process managers."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Protocol

import msgspec


class ProcessManagerStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`status`: running, stopped (the event at `error_position` can't be taken) or waiting (newer code
    wrote it, or too many of its commands are pending). `lag_events` and `lag_seconds` are what it is behind the log."""

    name: str
    status: Literal["running", "stopped", "waiting"]
    position: int
    lag_events: int
    lag_seconds: float
    error_position: int | None
    error_type: str | None
    error: str | None


class CountedCommands(msgspec.Struct, frozen=True, kw_only=True):
    """The commands of a process manager that wait for sessions that do not answer; `since`: the oldest of them."""

    process_manager: str
    commands: int
    since: datetime

    @property
    def text(self) -> str:
        """For people."""
        since = f"{self.since:%Y-%m-%d %H:%M:%S} UTC"
        return f"{self.commands} commands of {self.process_manager} wait for their sessions, the first since {since}"


class ProcessManagerRecords(Protocol):
    async def status(self) -> Sequence[ProcessManagerStatus]:
        """By name; none before any `worker` process has run on this database."""
        ...

    async def pending(self) -> Sequence[CountedCommands]:
        """By name; the process managers that have any."""
        ...

"""What operators see of process managers, and tell one that stands still."""

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from application.aggregates import Aggregates, Clock
from application.command_context import CommandContext
from application.ports import EventStore
from application.process_managers.table import PROCESS_MANAGERS
from domain.errors import NotFound
from domain.operations import process_managers
from domain.operations.process_managers import ManagerCommand, ManagerControl, RetryEvent, SkipEvent, StopAtEvent


class ProcessManagerStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`status`: running, stopped (the event at `error_position` can't be taken) or waiting (newer code wrote it).
    `lag_events` and `lag_seconds` are what it is behind the log."""

    name: str
    status: Literal["running", "stopped", "waiting"]
    position: int
    lag_events: int
    lag_seconds: float
    error_position: int | None
    error_type: str | None
    error: str | None


class ProcessManagerRecords(Protocol):
    async def status(self) -> Sequence[ProcessManagerStatus]:
        """By name; none before any worker has run on this database."""
        ...


class ProcessManagerControls:
    """All of it is in the log; whoever runs the process managers follows it within a second."""

    def __init__(self, *, store: EventStore, clock: Clock) -> None:
        self._streams: Aggregates[ManagerControl, ManagerCommand] = Aggregates(
            store=store,
            clock=clock,
            stream_of=process_managers.process_manager_stream,
            decide=process_managers.decide,
            evolve=process_managers.evolve,
            cached=10,
        )

    async def load(self, name: str) -> ManagerControl:
        """What it was told until now."""
        return (await self._streams.load(name)).state or ManagerControl()

    async def stop(self, name: str, command: StopAtEvent) -> None:
        """Record that it can't take an event; once for each time that it was tried."""
        stops = (await self.load(name)).stops
        command_id = f"process_manager/{name}/{command.at_position}/{stops + 1}"
        context = CommandContext(actor="process-managers", command_id=command_id, correlation_id=command_id)
        await self._streams.handle(name, command, context)

    async def retry(self, name: str, reason: str, context: CommandContext) -> int:
        """Try the event again; the position of the decision. Raises NotFound, NotStopped."""
        return (await self._streams.handle(_known(name), RetryEvent(reason=reason), context)).position

    async def skip(self, name: str, at_position: int, reason: str, context: CommandContext) -> int:
        """Go on without that event; the position of the decision. Raises NotFound, NotStopped."""
        command = SkipEvent(at_position=at_position, reason=reason)
        return (await self._streams.handle(_known(name), command, context)).position


def _known(name: str) -> str:
    if name not in PROCESS_MANAGERS:
        raise NotFound(f"no process manager {name!r} is known; there are: {', '.join(PROCESS_MANAGERS)}")
    return name

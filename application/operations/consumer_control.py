"""Stops, retries and skips of the log's consumers (projections, process managers, users' projections), in the log.

The log decides. The consumers follow it within a second, and then update their status in the database.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from msgspec.structs import replace

from application.aggregates.aggregates import Aggregates, Clock
from application.command_context import CommandContext
from application.ports.event_store import EventStore
from application.process_managers.table import PROCESS_MANAGERS
from domain.errors import NotFound
from domain.event import Event
from domain.operations.log_consumer import (
    BlockingEvent,
    ConsumerKind,
    ConsumerState,
    RetryEvent,
    SkipEvent,
    StopAtEvent,
)
from domain.operations.process_managers import PROCESS_MANAGER
from domain.operations.projections import PROJECTION, RecordRebuilt, RequestRebuild
from domain.operations.projections import decide as decide_projections
from domain.operations.user_projections import USER_PROJECTION, ForgetProjection
from domain.operations.user_projections import decide as decide_user_projections


class ConsumerControl:
    """The consumers of one kind. `names`: those in which operators may retry or skip an event."""

    def __init__(
        self,
        *,
        store: EventStore,
        clock: Clock,
        kind: ConsumerKind,
        names: Collection[str],
        actor: str,
        decide: Callable[[ConsumerState | None, Any], Sequence[Event]] | None = None,
    ) -> None:
        self._kind, self._names, self._actor = kind, names, actor
        self._streams: Aggregates[ConsumerState, Any] = Aggregates(
            store=store,
            clock=clock,
            stream_of=kind.stream,
            decide=decide or kind.decide,
            evolve=kind.evolve,
            cached=100,
        )

    async def load(self, name: str) -> ConsumerState:
        """Where it is stopped, and which events it skips."""
        return (await self._streams.load(name)).state or ConsumerState()

    async def stop(self, name: str, blocking: BlockingEvent, *, version: int = 0, fold_version: int = 0) -> None:
        """Record that it can't process an event; once for each attempt."""
        stops = (await self.load(name)).stops
        command = StopAtEvent(
            version=version,
            fold_version=fold_version,
            at_position=blocking.position,
            event_type=blocking.type,
            error=blocking.error,
        )
        await self._handle_own(name, command, f"stopped/{version}/{blocking.position}/{stops + 1}")

    async def retry(self, name: str, reason: str, context: CommandContext) -> int:
        """Let each stopped version try its event again; the position of the last decision. Raises NotFound,
        NotStopped."""
        versions = sorted((await self._known(name)).stopped)
        if not versions:
            raise self._kind.refusal("there is nothing to retry")
        return await self._each(name, [RetryEvent(version=version, reason=reason) for version in versions], context)

    async def skip(self, name: str, at_position: int, reason: str, context: CommandContext) -> int:
        """Let each version that is stopped at `at_position` go on without that event; the position of the last
        decision. Raises NotFound, NotStopped."""
        state = await self._known(name)
        there = [version for version, stop in sorted(state.stopped.items()) if stop.at_position == at_position]
        if not there and any(skipped == at_position for _, skipped in state.skipped):
            there = [0]  # skipped before: nothing changes, and the answer is the same
        if not there:
            raise self._kind.refusal(f"there is nothing to skip at {at_position}", state)
        commands = [SkipEvent(version=version, at_position=at_position, reason=reason) for version in there]
        return await self._each(name, commands, context)

    async def _each(self, name: str, commands: Sequence[RetryEvent | SkipEvent], context: CommandContext) -> int:
        position = 0
        for command in commands:
            step = context
            if command.version:
                step = replace(context, command_id=f"{context.command_id}/{command.version}")
            position = (await self._streams.handle(name, command, step)).position
        return position

    async def _handle_own(self, name: str, command: object, command_id: str) -> None:
        context = CommandContext(actor=self._actor, command_id=command_id, correlation_id=command_id)
        await self._streams.handle(name, command, context)

    async def _known(self, name: str) -> ConsumerState:
        if name not in self._names:
            raise NotFound(f"no {self._kind.title} {name!r} is known; there are: {', '.join(self._names)}")
        return await self.load(name)


class ProcessManagerControl(ConsumerControl):
    def __init__(self, *, store: EventStore, clock: Clock) -> None:
        super().__init__(
            store=store, clock=clock, kind=PROCESS_MANAGER, names=PROCESS_MANAGERS, actor="process-managers"
        )


class UserProjectionControl(ConsumerControl):
    """The same for the projections of users. `names`: those that have run on this database."""

    def __init__(self, *, store: EventStore, clock: Clock, names: Collection[str]) -> None:
        super().__init__(
            store=store,
            clock=clock,
            kind=USER_PROJECTION,
            names=names,
            actor="user-projections",
            decide=decide_user_projections,
        )

    async def forget(self, name: str, reason: str, context: CommandContext) -> int:
        """Record that it is shown no more; the position of that decision. Raises NotFound."""
        await self._known(name)
        return (await self._streams.handle(name, ForgetProjection(reason=reason), context)).position


class ProjectionControl(ConsumerControl):
    """The same for projections, with their rebuilds."""

    def __init__(self, *, store: EventStore, clock: Clock, names: Collection[str]) -> None:
        super().__init__(
            store=store, clock=clock, kind=PROJECTION, names=names, actor="projector", decide=decide_projections
        )

    async def request_rebuild(self, name: str, command: RequestRebuild, context: CommandContext) -> None:
        await self._streams.handle(name, command, context)

    async def record_rebuilt(self, name: str, command: RecordRebuilt) -> None:
        """Record that reads use this version now; once for each version."""
        await self._handle_own(name, command, f"rebuilt/{command.version}")

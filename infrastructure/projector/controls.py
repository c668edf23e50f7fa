"""Pauses, retries, skips and rebuilds as the log has them: stream `projection:{name}`. The log is what counts; the
status in projection_versions follows it.
"""

from datetime import UTC, datetime

from application.aggregates import Aggregates
from application.command_context import CommandContext
from application.ports import EventStore
from domain.projection import control
from domain.projection.control import ProjectionCommand, ProjectionControl
from infrastructure.projector.unit import Problem, Unit

ACTOR = "projector"


class ProjectionControls:
    def __init__(self, store: EventStore) -> None:
        self._streams: Aggregates[ProjectionControl, ProjectionCommand] = Aggregates(
            store=store,
            clock=lambda: datetime.now(UTC),
            stream_of=control.projection_stream,
            decide=control.decide,
            evolve=control.evolve,
            cached=100,
        )

    async def load(self, name: str) -> ProjectionControl:
        """What the projection was told until now."""
        return (await self._streams.load(name)).state or ProjectionControl()

    async def handle(self, name: str, command: ProjectionCommand, context: CommandContext) -> int:
        """Record a command; the position of its event. Raises NotPaused."""
        return (await self._streams.handle(name, command, context)).position

    async def pause(self, unit: Unit, problem: Problem) -> None:
        """Record that an event can't be applied; once for each time that it was tried."""
        pauses = (await self.load(unit.name)).pauses
        command = control.PauseProjection(
            version=unit.version,
            fold_version=unit.projection.version,
            at_position=problem.position,
            event_type=problem.type,
            error=problem.error,
        )
        await self.handle(unit.name, command, _own(f"paused/{unit.version}/{problem.position}/{pauses + 1}"))

    async def record_rebuilt(self, unit: Unit) -> None:
        """Record that readers see this version now; once for each version."""
        command = control.RecordRebuilt(
            version=unit.version, fold_version=unit.projection.version, at_position=unit.position
        )
        await self.handle(unit.name, command, _own(f"rebuilt/{unit.version}"))


def _own(command_id: str) -> CommandContext:
    return CommandContext(actor=ACTOR, command_id=command_id, correlation_id=command_id)

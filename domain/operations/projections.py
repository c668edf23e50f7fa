"""Projections as consumers of the log, and their rebuilds: stream `projection:{name}`. Pure."""

from collections.abc import Sequence

import msgspec

from domain.event import Event
from domain.operations import projection_events as e
from domain.operations.log_consumer import ConsumerCommand, ConsumerKind, ConsumerState

PROJECTION = ConsumerKind(
    title="projection",
    stream_prefix="projection",
    stopped=e.ProjectionPaused,
    retried=e.ProjectionRetried,
    skipped=e.ProjectionSkipped,
    stopped_status="paused",
    not_stopped="not_paused",
    versioned=True,
)


class RequestRebuild(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    fold_version: int
    reason: str = ""


class RecordRebuilt(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    fold_version: int
    at_position: int


ProjectionCommand = ConsumerCommand | RequestRebuild | RecordRebuilt


def decide(state: ConsumerState | None, command: ProjectionCommand) -> Sequence[Event]:
    """The events that a command leads to. Raises NotStopped."""
    match command:
        case RequestRebuild():
            return (
                e.ProjectionRebuildRequested(
                    version=command.version, fold_version=command.fold_version, reason=command.reason
                ),
            )
        case RecordRebuilt():
            return (
                e.ProjectionRebuilt(
                    version=command.version, fold_version=command.fold_version, at_position=command.at_position
                ),
            )
        case _:
            return PROJECTION.decide(state, command)

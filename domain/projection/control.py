"""What a projection was told: which of its versions are paused, and which events they skip. Pure."""

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from domain.errors import Conflict
from domain.event import Event
from domain.projection import events as e
from domain.record import Occurrence


def projection_stream(name: str) -> str:
    return f"projection:{name}"


class NotPaused(Conflict):
    reason = "not_paused"


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """`number` counts the pauses of a projection, so that each has an event id of its own."""

    at_position: int
    event_type: str
    error: str
    fold_version: int
    number: int


class ProjectionControl(msgspec.Struct, frozen=True, kw_only=True):
    """`paused` by version; `skipped` holds (fold version, position)."""

    paused: dict[int, Pause] = {}
    skipped: frozenset[tuple[int, int]] = frozenset()
    pauses: int = 0

    def skips(self, fold_version: int) -> frozenset[int]:
        """The positions that folds of this version leave out."""
        return frozenset(position for version, position in self.skipped if version == fold_version)


class PauseProjection(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    fold_version: int
    at_position: int
    event_type: str
    error: str


class RetryProjection(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    reason: str = ""


class SkipEvent(msgspec.Struct, frozen=True, kw_only=True):
    """`at_position` names the very event, so that a skip sent twice never skips the next one."""

    version: int
    at_position: int
    reason: str = ""


class RequestRebuild(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    fold_version: int
    reason: str = ""


class RecordRebuilt(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    fold_version: int
    at_position: int


ProjectionCommand = PauseProjection | RetryProjection | SkipEvent | RequestRebuild | RecordRebuilt


def decide(state: ProjectionControl | None, command: ProjectionCommand) -> Sequence[Event]:
    """The events that a command leads to. Raises NotPaused for a retry or skip of what isn't paused there."""
    state = state or ProjectionControl()
    match command:
        case PauseProjection(version=version, at_position=position):
            known = state.paused.get(version)
            if known is not None and known.at_position == position:
                return ()
            return (
                e.ProjectionPaused(
                    version=version,
                    fold_version=command.fold_version,
                    at_position=position,
                    event_type=command.event_type,
                    error=command.error,
                ),
            )
        case RetryProjection(version=version):
            pause = _pause(state, version)
            return (
                e.ProjectionRetried(
                    version=version,
                    fold_version=pause.fold_version,
                    at_position=pause.at_position,
                    reason=command.reason,
                ),
            )
        case SkipEvent(version=version, at_position=position):
            if any(skipped == position for _, skipped in state.skipped):
                return ()
            pause = _pause(state, version)
            if pause.at_position != position:
                raise NotPaused(f"version {version} is paused at position {pause.at_position}, not at {position}")
            return (
                e.ProjectionSkipped(
                    version=version, fold_version=pause.fold_version, at_position=position, reason=command.reason
                ),
            )
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


def _pause(state: ProjectionControl, version: int) -> Pause:
    pause = state.paused.get(version)
    if pause is None:
        raise NotPaused(f"version {version} of this projection is not paused; there is nothing to retry or skip")
    return pause


def evolve(state: ProjectionControl | None, occurrence: Occurrence) -> ProjectionControl | None:
    """The state after one more event."""
    state = state or ProjectionControl()
    match occurrence.event:
        case e.ProjectionPaused() as event:
            pause = Pause(
                at_position=event.at_position,
                event_type=event.event_type,
                error=event.error,
                fold_version=event.fold_version,
                number=state.pauses + 1,
            )
            return replace(state, paused={**state.paused, event.version: pause}, pauses=pause.number)
        case e.ProjectionRetried(version=version):
            return replace(state, paused=_without(state.paused, version))
        case e.ProjectionSkipped(version=version, fold_version=fold_version, at_position=position):
            return replace(
                state,
                paused=_without(state.paused, version),
                skipped=state.skipped | {(fold_version, position)},
            )
        case _:
            return state


def _without(paused: dict[int, Pause], version: int) -> dict[int, Pause]:
    return {key: pause for key, pause in paused.items() if key != version}

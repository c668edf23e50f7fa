"""What a process manager was told: where it stands still, which events it skips. Stream `process_manager:{name}`."""

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from domain.errors import Conflict
from domain.event import Event
from domain.operations import events as e
from domain.record import Occurrence


def process_manager_stream(name: str) -> str:
    return f"process_manager:{name}"


class NotStopped(Conflict):
    reason = "not_stopped"


class ManagerControl(msgspec.Struct, frozen=True, kw_only=True):
    """`stopped_at`: the position of the event that it can't take, 0 while it works. `stops` counts them."""

    stopped_at: int = 0
    skipped: frozenset[int] = frozenset()
    stops: int = 0


class StopAtEvent(msgspec.Struct, frozen=True, kw_only=True):
    at_position: int
    event_type: str
    error: str


class RetryEvent(msgspec.Struct, frozen=True, kw_only=True):
    reason: str = ""


class SkipEvent(msgspec.Struct, frozen=True, kw_only=True):
    """`at_position` names the very event, so that a skip sent twice never skips the next one."""

    at_position: int
    reason: str = ""


ManagerCommand = StopAtEvent | RetryEvent | SkipEvent


def decide(state: ManagerControl | None, command: ManagerCommand) -> Sequence[Event]:
    """Raises NotStopped for a retry or a skip where nothing stands still."""
    state = state or ManagerControl()
    match command:
        case StopAtEvent(at_position=position, event_type=event_type, error=error):
            if state.stopped_at == position:
                return ()
            return (e.ProcessManagerStopped(at_position=position, event_type=event_type, error=error),)
        case RetryEvent(reason=reason):
            if not state.stopped_at:
                raise NotStopped("this process manager works; there is nothing to retry")
            return (e.ProcessManagerRetried(at_position=state.stopped_at, reason=reason),)
        case SkipEvent(at_position=position, reason=reason):
            if position in state.skipped:
                return ()
            if state.stopped_at != position:
                where = f"stands at position {state.stopped_at}" if state.stopped_at else "works"
                raise NotStopped(f"this process manager {where}; there is nothing to skip at {position}")
            return (e.ProcessManagerSkipped(at_position=position, reason=reason),)


def evolve(state: ManagerControl | None, occurrence: Occurrence) -> ManagerControl | None:
    """The state after one more event."""
    state = state or ManagerControl()
    match occurrence.event:
        case e.ProcessManagerStopped(at_position=position):
            return replace(state, stopped_at=position, stops=state.stops + 1)
        case e.ProcessManagerRetried():
            return replace(state, stopped_at=0)
        case e.ProcessManagerSkipped(at_position=position):
            return replace(state, stopped_at=0, skipped=state.skipped | {position})
        case _:
            return state

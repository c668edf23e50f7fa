"""Pausing and resuming the run queue: stream `queue:runs`. Pure."""

from collections.abc import Sequence

import msgspec

from domain.event import Event
from domain.operations import events as e
from domain.record import Occurrence

STREAM_KEY = "runs"


def queue_stream(key: str) -> str:
    return f"queue:{key}"


class QueueSwitch(msgspec.Struct, frozen=True, kw_only=True):
    paused: bool = False


class PauseQueue(msgspec.Struct, frozen=True, kw_only=True):
    reason: str = ""


class ResumeQueue(msgspec.Struct, frozen=True, kw_only=True):
    reason: str = ""


QueueCommand = PauseQueue | ResumeQueue


def decide(state: QueueSwitch | None, command: QueueCommand) -> Sequence[Event]:
    """No event if the queue is in that state already, except that the first command of all is always recorded."""
    match command:
        case PauseQueue(reason=reason):
            return () if state is not None and state.paused else (e.QueuePaused(reason=reason),)
        case ResumeQueue(reason=reason):
            return () if state is not None and not state.paused else (e.QueueResumed(reason=reason),)


def evolve(state: QueueSwitch | None, occurrence: Occurrence) -> QueueSwitch | None:
    """The state after one more event."""
    match occurrence.event:
        case e.QueuePaused():
            return QueueSwitch(paused=True)
        case e.QueueResumed():
            return QueueSwitch(paused=False)
        case _:
            return state

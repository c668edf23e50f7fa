"""Consumers of the log that one event can stop: projections, process managers, users' projections. Pure.

A consumer is *running*; or *stopped* at the position of an event that it can't process, until an operator says retry or
skip; or *waiting* at an event that newer code wrote, until a process with that code takes over. Waiting is not
recorded: nobody has to decide anything.

    running --StopAtEvent--> stopped --RetryEvent--> running
                             stopped --SkipEvent---> running, without that event

Each version of a projection stops on its own; a process manager has one version, 0.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from domain.errors import Conflict
from domain.event import Event, WrittenByNewerVersion
from domain.record import Occurrence

LONGEST_ERROR = 2000


class NotStopped(Conflict):
    """There is nothing to retry or skip. `reason` is ConsumerKind.not_stopped."""


class BlockingEvent(msgspec.Struct, frozen=True, kw_only=True):
    """The event that a consumer can't process. `newer`: newer code wrote it, so the consumer waits instead of
    stopping."""

    position: int
    type: str
    error: str
    newer: bool = False


def blocking_event(position: int, type_: str, error: BaseException) -> BlockingEvent:
    newer = isinstance(error, WrittenByNewerVersion)
    return BlockingEvent(position=position, type=type_, error=describe(error), newer=newer)


def describe(error: BaseException) -> str:
    """`{type}: {message}`, at most LONGEST_ERROR characters, without what Postgres can't store: NUL is escaped, and
    lone surrogates, which UTF-8 can't encode."""
    try:
        said = str(error)
    except Exception as another:  # noqa: BLE001  a user's class of errors
        said = f"its text can't be made ({type(another).__name__})"
    text = f"{type(error).__name__}: {said}"[:LONGEST_ERROR].replace("\0", "\\0")
    return text.encode("utf-8", "backslashreplace").decode()[:LONGEST_ERROR]


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    at_position: int
    fold_version: int = 0


class ConsumerState(msgspec.Struct, frozen=True, kw_only=True):
    """`stopped`: by version; `skipped`: pairs of fold version and position; `stops`: the number of stops so far, from
    which the event ids of stops are made."""

    stopped: dict[int, Stop] = {}
    skipped: frozenset[tuple[int, int]] = frozenset()
    stops: int = 0

    def skips(self, fold_version: int = 0) -> frozenset[int]:
        """The positions of the events that this fold version skips."""
        return frozenset(position for version, position in self.skipped if version == fold_version)


class StopAtEvent(msgspec.Struct, frozen=True, kw_only=True):
    at_position: int
    event_type: str
    error: str
    version: int = 0
    fold_version: int = 0


class RetryEvent(msgspec.Struct, frozen=True, kw_only=True):
    version: int = 0
    reason: str = ""


class SkipEvent(msgspec.Struct, frozen=True, kw_only=True):
    """`at_position`: of the event to skip, so that a command sent twice does not skip a second event."""

    at_position: int
    version: int = 0
    reason: str = ""


ConsumerCommand = StopAtEvent | RetryEvent | SkipEvent


class ConsumerKind(msgspec.Struct, frozen=True, kw_only=True):
    """How kinds of consumers differ. `stream_prefix` and the event types are stored data; `stopped_status` (the status
    of a stopped consumer) and `not_stopped` (the reason of NotStopped) are part of the HTTP contract. `versioned`: the
    events have the fields `version` and `fold_version`."""

    title: str
    stream_prefix: str
    stopped: type[Event]
    retried: type[Event]
    skipped: type[Event]
    stopped_status: str
    not_stopped: str
    versioned: bool

    def stream(self, name: str) -> str:
        return f"{self.stream_prefix}:{name}"

    def status(self, blocking: BlockingEvent | None) -> str:
        """`running`, `waiting` or `stopped_status`."""
        if blocking is None:
            return "running"
        return "waiting" if blocking.newer else self.stopped_status

    def decide(self, state: ConsumerState | None, command: ConsumerCommand) -> Sequence[Event]:
        """The events that a command leads to. Raises NotStopped for a retry or skip where nothing is stopped."""
        state = state or ConsumerState()
        match command:
            case StopAtEvent(version=version, at_position=position):
                known = state.stopped.get(version)
                if known is not None and known.at_position == position:
                    return ()
                numbers = self._numbers(version, command.fold_version)
                return (
                    self.stopped(at_position=position, event_type=command.event_type, error=command.error, **numbers),
                )
            case RetryEvent(version=version):
                stop = state.stopped.get(version)
                if stop is None:
                    raise self.refusal("there is nothing to retry")
                numbers = self._numbers(version, stop.fold_version)
                return (self.retried(at_position=stop.at_position, reason=command.reason, **numbers),)
            case SkipEvent(version=version, at_position=position):
                if any(skipped == position for _, skipped in state.skipped):
                    return ()
                stop = state.stopped.get(version)
                if stop is None or stop.at_position != position:
                    raise self.refusal(f"there is nothing to skip at {position}", state)
                numbers = self._numbers(version, stop.fold_version)
                return (self.skipped(at_position=position, reason=command.reason, **numbers),)

    def evolve(self, state: ConsumerState | None, occurrence: Occurrence) -> ConsumerState | None:
        """The state after one more event."""
        state, event = state or ConsumerState(), occurrence.event
        version: int = getattr(event, "version", 0)
        fold_version: int = getattr(event, "fold_version", 0)
        position: int = getattr(event, "at_position", 0)
        if isinstance(event, self.stopped):
            stop = Stop(at_position=position, fold_version=fold_version)
            return replace(state, stopped={**state.stopped, version: stop}, stops=state.stops + 1)
        if isinstance(event, self.retried):
            return replace(state, stopped=_without(state.stopped, version))
        if isinstance(event, self.skipped):
            skipped = state.skipped | {(fold_version, position)}
            return replace(state, stopped=_without(state.stopped, version), skipped=skipped)
        return state

    def refusal(self, consequence: str, state: ConsumerState | None = None) -> NotStopped:
        """The error for a retry or skip where nothing is stopped; given `state`, it names the positions of the
        stops."""
        positions = ", ".join(str(stop.at_position) for stop in state.stopped.values()) if state else ""
        where = f"is {self.stopped_status} at position {positions}" if positions else f"is not {self.stopped_status}"
        return NotStopped(f"this {self.title} {where}; {consequence}", self.not_stopped)

    def _numbers(self, version: int, fold_version: int) -> dict[str, Any]:
        return {"version": version, "fold_version": fold_version} if self.versioned else {}


def _without(stopped: dict[int, Stop], version: int) -> dict[int, Stop]:
    return {key: stop for key, stop in stopped.items() if key != version}

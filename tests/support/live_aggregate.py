"""An aggregate as it lives: commands in, events out, and everything that must hold after any of them."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

import msgspec
from msgspec.structs import replace

from domain.errors import DomainError
from domain.event import Event, decode, encode
from domain.record import NewEvent, Occurrence
from tests.support.specification import T0, occurrence

State = TypeVar("State")


class LiveAggregate(Generic[State]):
    """`send` decides and folds, as application/aggregates/aggregates.py does; `check_history` proves the fold."""

    def __init__(
        self,
        decide: Callable[[State | None, Any], Sequence[Event]],
        evolve: Callable[[State | None, Occurrence], State | None],
    ) -> None:
        self._decide, self._evolve = decide, evolve
        self.state: State | None = None
        self.states: list[State | None] = [None]
        self.log: list[NewEvent] = []
        self.now: datetime = T0

    @property
    def events(self) -> list[Event]:
        return [each.event for each in self.log]

    def send(self, command: Any, event_id: str = "") -> tuple[Event, ...]:
        """The new events; none when a DomainError refused it. Any other exception is a failure of the domain."""
        self.now += timedelta(seconds=1)
        try:
            decided = tuple(self._decide(self.state, command))
        except DomainError:
            return ()
        for index, event in enumerate(decided):
            own = event_id if event_id and index == len(decided) - 1 else f"id-{len(self.log)}"
            new = occurrence(event, at=self.now, event_id=own)
            self.state = self._evolve(self.state, new)
            self.log.append(new)
            self.states.append(self.state)
        return decided

    def assert_repeat_changes_nothing(self, command: Any) -> None:
        """The same report once more, at the same moment: refused, or without an effect on the state."""
        try:
            decided = self._decide(self.state, command)
        except DomainError:
            return
        state = self.state
        for event in decided:
            state = self._evolve(state, occurrence(event, at=self.now, event_id="repeated"))
        assert state == self.state, f"{command} sent again led to {decided}"

    def check_history(self) -> None:
        """The stored log, read from its start, passes through the very states that were lived through; and goes on
        from any of them, written as a snapshot and read back, to the same end."""
        read = [replace(each, event=_stored(each.event)) for each in self.log]
        state: State | None = None
        for index, each in enumerate(read):
            assert each.event == self.log[index].event
            state = self._evolve(state, each)
            assert state == self.states[index + 1]
        for start in range(0, len(read), 7):
            state = through_snapshot(self.states[start])
            assert state == self.states[start]
            for each in read[start:]:
                state = self._evolve(state, each)
            assert state == self.state


def through_snapshot(state: Any) -> Any:
    """As infrastructure/postgres/event_store/aggregate_snapshots.py writes and reads it."""
    return None if state is None else msgspec.json.decode(msgspec.json.encode(state), type=type(state))


def _stored(event: Event) -> Event:
    payload = encode(event)
    assert isinstance(json.loads(payload), dict)
    return decode(event.wire_name, event.schema_version, payload)

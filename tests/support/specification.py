"""given(events) / when(command) / then(events | error): specifications of a decider.

    session.given(*RUNNING).when(DetachRun(run_id="r1")).then_nothing()

Times are arguments: `given(..., at=T0 + minutes(20))`. Event ids matter only to the journal's cursor, so most
specifications let `given` number them.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from domain.errors import Conflict, DomainError, InvalidInput
from domain.event import Event
from domain.record import Metadata, NewEvent, Occurrence

State = TypeVar("State")
Command = TypeVar("Command")
Decide = Callable[[State | None, Command], Sequence[Event]]
Evolve = Callable[[State | None, Occurrence], State | None]

T0 = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
_METADATA = Metadata(actor="spec", correlation_id="spec")


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def occurrence(event: Event, *, at: datetime = T0, event_id: str = "spec") -> NewEvent:
    return NewEvent(event_id=event_id, event=event, occurred_at=at, metadata=_METADATA)


def fold(evolve: Evolve[State], occurrences: Iterable[Occurrence], state: State | None = None) -> State | None:
    for each in occurrences:
        state = evolve(state, each)
    return state


class Specification(Generic[State, Command]):
    """The specifications of one kind of aggregate."""

    def __init__(self, decide: Decide[State, Command], evolve: Evolve[State]) -> None:
        self.decide, self.evolve = decide, evolve

    def given(self, *events: Event, at: datetime = T0) -> "Given[State, Command]":
        return Given(self, ()).given(*events, at=at)


class Given(Generic[State, Command]):
    """A history. `given` adds to it, at another time or with an event id of its own."""

    def __init__(self, specification: Specification[State, Command], history: tuple[NewEvent, ...]) -> None:
        self._specification, self.history = specification, history

    def given(self, *events: Event, at: datetime = T0, event_id: str = "") -> "Given[State, Command]":
        new = (
            occurrence(event, at=at, event_id=event_id or f"spec-{len(self.history) + index}")
            for index, event in enumerate(events)
        )
        return Given(self._specification, (*self.history, *new))

    @property
    def state(self) -> State:
        state = fold(self._specification.evolve, self.history)
        assert state is not None, "this history leads to no state"
        return state

    def when(self, command: Command, *, at: datetime = T0) -> "Outcome[State, Command]":
        state = fold(self._specification.evolve, self.history)
        try:
            return Outcome(self, tuple(self._specification.decide(state, command)), None, at)
        except DomainError as error:
            return Outcome(self, (), error, at)


class Outcome(Generic[State, Command]):
    def __init__(
        self, given: Given[State, Command], events: tuple[Event, ...], error: DomainError | None, at: datetime
    ) -> None:
        self._given, self.error, self._at = given, error, at
        self.events: tuple[Any, ...] = events

    def then(self, *events: Event) -> "Given[State, Command]":
        """Exactly these events; answers with the history that they lead to."""
        assert self.error is None, repr(self.error)
        assert self.events == events
        return self._given.given(*events, at=self._at)

    def then_types(self, *types: type[Event]) -> "Given[State, Command]":
        """Events of exactly these types, where their fields are another specification's matter."""
        assert self.error is None, repr(self.error)
        assert [type(event) for event in self.events] == list(types)
        return self._given.given(*self.events, at=self._at)

    def then_nothing(self) -> "Given[State, Command]":
        return self.then()

    def then_error(self, error: type[DomainError], *, reason: str = "", field: str = "", saying: str = "") -> None:
        """Exactly this error: with this reason (Conflict), for this field (InvalidInput), saying this."""
        assert self.error is not None, f"no error, but {self.events}"
        assert type(self.error) is error, repr(self.error)
        if reason:
            assert isinstance(self.error, Conflict)
            assert self.error.reason == reason
        if field:
            assert isinstance(self.error, InvalidInput)
            assert self.error.field == field
        assert saying in str(self.error)

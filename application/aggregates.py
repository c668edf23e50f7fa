"""Load, decide, append: how every command reaches an aggregate. A lost race is decided again on the fresh state."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec

from application.command_context import CommandContext
from application.ports import EventStore, ExpectedSeqConflict
from domain.errors import Conflict, DomainError
from domain.event import Event
from domain.record import NewEvent, Occurrence, RecordedEvent

State = TypeVar("State")
Command = TypeVar("Command")
Clock = Callable[[], datetime]
MAX_RACES = 50


class Handled(msgspec.Struct, Generic[State], frozen=True, kw_only=True):
    """What a command led to: the state after it, the new events (none when it changed nothing), the stream's last seq,
    and the position of the last new event (0 when there is none)."""

    state: State
    events: tuple[Event, ...]
    seq: int
    position: int


class Loaded(msgspec.Struct, Generic[State], frozen=True, kw_only=True):
    """A fold of a stream: its state after `seq` and that event's position; None and 0 for a stream without events."""

    state: State | None
    seq: int
    position: int


class Aggregates(Generic[State, Command]):
    """The aggregates of one kind, each in its stream. Keeps the latest folds in memory (bounded, least recently used
    out first) and reads only what was appended since; the append's expected seq keeps a stale one from deciding."""

    def __init__(
        self,
        *,
        store: EventStore,
        clock: Clock,
        stream_of: Callable[[str], str],
        decide: Callable[[State | None, Command], Sequence[Event]],
        evolve: Callable[[State | None, Occurrence], State | None],
        cached: int = 2000,
    ) -> None:
        self._store, self._clock, self._stream_of = store, clock, stream_of
        self._decide, self._evolve = decide, evolve
        self._cached = cached
        self._folds: OrderedDict[str, Loaded[State]] = OrderedDict()

    async def load(self, key: str) -> Loaded[State]:
        """The present state, read to the end of the stream."""
        known = self._folds.get(key) or Loaded(state=None, seq=0, position=0)
        recorded = await self._store.read_stream(self._stream_of(key), after_seq=known.seq)
        return self._advance(key, known, recorded)

    async def handle(self, key: str, command: Command, context: CommandContext) -> Handled[State]:
        """Decide `command` on the state of `key` and append what it leads to. Raises what `decide` raises."""
        return await self.handle_batch(key, [(command, "")], context)

    async def handle_batch(
        self, key: str, commands: Sequence[tuple[Command, str]], context: CommandContext
    ) -> Handled[State]:
        """Decide several commands one after the other, and append all their events at once. Each comes with the event
        id of its own event (the last that it leads to), or an empty one for an id derived from the command's."""
        known = self._folds.get(key)
        loaded = known if known is not None else await self.load(key)
        for _ in range(MAX_RACES):
            try:
                new, state = self._decide_all(loaded.state, commands, context)
            except DomainError:
                # Refused on a fold that may be stale: only the fresh one's word counts.
                fresh = await self.load(key)
                if fresh.seq == loaded.seq:
                    raise
                loaded = fresh
                continue
            if not new:
                # Nothing to do on a fold that may be stale: make sure on the fresh one.
                fresh = await self.load(key)
                if fresh.seq == loaded.seq:
                    return _unchanged(fresh, fresh.position)
                loaded = fresh
                continue
            try:
                result = await self._store.append(self._stream_of(key), loaded.seq, new)
            except ExpectedSeqConflict:
                loaded = await self.load(key)
                known_event = await self._store.find_event(self._stream_of(key), context.command_id)
                if known_event is not None:
                    return _unchanged(loaded, known_event.position)
                continue
            if result.duplicate:
                return _unchanged(await self.load(key), result.position)
            self._remember(key, Loaded(state=state, seq=result.last_seq, position=result.position))
            return Handled(
                state=_existing(state),
                events=tuple(event.event for event in new),
                seq=result.last_seq,
                position=result.position,
            )
        raise Conflict(f"{self._stream_of(key)} is too busy: {MAX_RACES} races lost; try again", "too_busy")

    def _decide_all(
        self, state: State | None, commands: Sequence[tuple[Command, str]], context: CommandContext
    ) -> tuple[list[NewEvent], State | None]:
        now, metadata = self._clock(), context.metadata()
        new: list[NewEvent] = []
        for command, event_id in commands:
            decided = self._decide(state, command)
            for index, event in enumerate(decided):
                if event_id:
                    own = event_id if index == len(decided) - 1 else f"{event_id}/before/{index}"
                else:
                    own = context.command_id if not new else f"{context.command_id}/{len(new)}"
                occurrence = NewEvent(event_id=own, event=event, occurred_at=now, metadata=metadata)
                state = self._evolve(state, occurrence)
                new.append(occurrence)
        return new, state

    def _advance(self, key: str, known: Loaded[State], recorded: Sequence[RecordedEvent]) -> Loaded[State]:
        state: Any = known.state
        for event in recorded:
            state = self._evolve(state, event)
        if recorded:
            known = Loaded(state=state, seq=recorded[-1].seq, position=recorded[-1].position)
        self._remember(key, known)
        return known

    def _remember(self, key: str, loaded: Loaded[State]) -> None:
        if loaded.seq == 0:
            return
        present = self._folds.get(key)
        if present is not None and present.seq > loaded.seq:
            return
        self._folds[key] = loaded
        self._folds.move_to_end(key)
        while len(self._folds) > self._cached:
            self._folds.popitem(last=False)


def _unchanged(loaded: Loaded[State], position: int) -> Handled[State]:
    return Handled(state=_existing(loaded.state), events=(), seq=loaded.seq, position=position)


def _existing(state: State | None) -> State:
    if state is None:
        raise LookupError("a command that led to nothing left no state; this aggregate's decide must raise NotFound")
    return state

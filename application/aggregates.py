"""Load, decide, append: how every command reaches an aggregate. A lost race is decided again on the fresh state."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec
from msgspec.structs import replace

from application.command_context import CommandContext
from application.ports import Append, AppendResult, EventStore, ExpectedSeqConflict
from application.snapshots import Snapshot, SnapshotStore
from domain.errors import Conflict, DomainError
from domain.event import Event
from domain.record import NewEvent, Occurrence, RecordedEvent

State = TypeVar("State")
Command = TypeVar("Command")
Clock = Callable[[], datetime]
MAX_RACES = 50
EVENTS_PER_PAGE = 1000
EVENTS_PER_SNAPSHOT = 200


class Handled(msgspec.Struct, Generic[State], frozen=True, kw_only=True):
    """What a command led to: the state after it, the new events (none when it changed nothing), the stream's last seq,
    and the position of the last new event (0 when there is none)."""

    state: State
    events: tuple[Event, ...]
    seq: int
    position: int


class Loaded(msgspec.Struct, Generic[State], frozen=True, kw_only=True):
    """A fold of a stream: its state after `seq` and that event's position; None and 0 for a stream without events.
    `snapshot_seq`: the seq of its newest snapshot, as far as this process knows; 0 for none."""

    state: State | None
    seq: int
    position: int
    snapshot_seq: int = 0


class Planned(msgspec.Struct, Generic[State], frozen=True, kw_only=True):
    """What commands will lead to, if the log takes it: the append, and the state after it."""

    key: str
    append: Append
    state: State
    snapshot_seq: int


class Aggregates(Generic[State, Command]):
    """The aggregates of one kind, each in its stream. Keeps the latest folds in memory (bounded, least recently used
    out first) and reads only what was appended since; the append's expected seq keeps a stale one from deciding.

    A fold that is not in memory begins at its stream's newest snapshot, if `snapshots` has one. A new snapshot is kept
    whenever `snapshot_every` events were folded since the last one.
    """

    def __init__(
        self,
        *,
        store: EventStore,
        clock: Clock,
        stream_of: Callable[[str], str],
        decide: Callable[[State | None, Command], Sequence[Event]],
        evolve: Callable[[State | None, Occurrence], State | None],
        cached: int = 2000,
        snapshots: SnapshotStore[State] | None = None,
        snapshot_every: int = EVENTS_PER_SNAPSHOT,
    ) -> None:
        self.store, self._clock, self._stream_of = store, clock, stream_of
        self._decide, self._evolve = decide, evolve
        self._cached = cached
        self._snapshots, self._snapshot_every = snapshots, snapshot_every
        self._folds: OrderedDict[str, Loaded[State]] = OrderedDict()

    async def load(self, key: str) -> Loaded[State]:
        """The present state, read to the end of the stream."""
        stream = self._stream_of(key)
        known = self._folds.get(key) or await self._beginning(stream)
        while True:
            # Page by page: others get their turn between the pages of a long stream.
            page = await self.store.read_stream(stream, after_seq=known.seq, limit=EVENTS_PER_PAGE)
            known = self._advance(known, page)
            if len(page) < EVENTS_PER_PAGE:
                return self._remember(key, known)

    async def recent(self, key: str) -> Loaded[State]:
        """The state as this process last saw it, read only where it has seen none: others may have gone on since. For
        what is decided on it the append's word counts; for a call that it leads to, the callee's."""
        return self._folds.get(key) or await self.load(key)

    async def handle(
        self, key: str, command: Command, context: CommandContext, *, likely_new: bool = False
    ) -> Handled[State]:
        """Decide `command` on the state of `key` and append what it leads to. Raises what `decide` raises."""
        return await self.handle_batch(key, [(command, "")], context, likely_new=likely_new)

    async def handle_batch(
        self,
        key: str,
        commands: Sequence[tuple[Command, str]],
        context: CommandContext,
        *,
        likely_new: bool = False,
    ) -> Handled[State]:
        """Decide several commands one after the other, and append all their events at once. Each comes with the event
        id of its own event (the last that it leads to), or an empty one for an id derived from the command's.
        `likely_new`: a stream that this process has not seen is taken for one without events; the append tells."""
        loaded = self._folds.get(key)
        if loaded is None:
            loaded = Loaded(state=None, seq=0, position=0) if likely_new else await self.load(key)
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
                result = await self.store.append(self._stream_of(key), loaded.seq, new)
            except ExpectedSeqConflict:
                loaded = await self.load(key)
                known_event = await self.store.find_event(self._stream_of(key), context.command_id)
                if known_event is not None:
                    return _unchanged(loaded, known_event.position)
                continue
            if result.duplicate:
                return _unchanged(await self.load(key), result.position)
            self._remember(key, replace(loaded, state=state, seq=result.last_seq, position=result.position))
            return Handled(
                state=_existing(state),
                events=tuple(event.event for event in new),
                seq=result.last_seq,
                position=result.position,
            )
        raise Conflict(f"{self._stream_of(key)} is too busy: {MAX_RACES} races lost; try again", "too_busy")

    def stream(self, key: str) -> str:
        return self._stream_of(key)

    def planned(
        self,
        key: str,
        commands: Sequence[tuple[Command, str]],
        context: CommandContext,
        after: Planned[State] | None = None,
    ) -> Planned[State] | None:
        """What the commands lead to on the fold as this process last saw it, or `after` what is planned already. None
        when it has seen none, or when they are refused on it or change nothing: then only the fresh one's word counts.
        """
        if after is None:
            known = self._folds.get(key)
            if known is None or known.state is None:
                return None
            state, seq, snapshot_seq = known.state, known.seq, known.snapshot_seq
        else:
            state, seq = after.state, after.append.expected_seq + len(after.append.events)
            snapshot_seq = after.snapshot_seq
        try:
            new, decided = self._decide_all(state, commands, context)
        except DomainError:
            return None
        if not new or decided is None:
            return None
        append = Append(stream=self._stream_of(key), expected_seq=seq, events=new)
        return Planned(key=key, append=append, state=decided, snapshot_seq=snapshot_seq)

    def written(self, plan: Planned[State], result: AppendResult) -> Handled[State]:
        """The log has taken what was planned."""
        loaded = Loaded(state=plan.state, seq=result.last_seq, position=result.position, snapshot_seq=plan.snapshot_seq)
        self._remember(plan.key, loaded)
        return Handled(
            state=plan.state,
            events=tuple(event.event for event in plan.append.events),
            seq=result.last_seq,
            position=result.position,
        )

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

    async def _beginning(self, stream: str) -> Loaded[State]:
        snapshot = None if self._snapshots is None else await self._snapshots.newest(stream)
        if snapshot is None:
            return Loaded(state=None, seq=0, position=0)
        return Loaded(state=snapshot.state, seq=snapshot.seq, position=snapshot.position, snapshot_seq=snapshot.seq)

    def _advance(self, known: Loaded[State], recorded: Sequence[RecordedEvent]) -> Loaded[State]:
        if not recorded:
            return known
        state: Any = known.state
        for event in recorded:
            state = self._evolve(state, event)
        last = recorded[-1]
        return Loaded(state=state, seq=last.seq, position=last.position, snapshot_seq=known.snapshot_seq)

    def _remember(self, key: str, loaded: Loaded[State]) -> Loaded[State]:
        present = self._folds.get(key)
        if loaded.seq == 0 or (present is not None and present.seq > loaded.seq):
            return loaded
        loaded = self._with_snapshot(key, loaded)
        self._folds[key] = loaded
        self._folds.move_to_end(key)
        while len(self._folds) > self._cached:
            self._folds.popitem(last=False)
        return loaded

    def _with_snapshot(self, key: str, loaded: Loaded[State]) -> Loaded[State]:
        if self._snapshots is None or loaded.state is None or loaded.seq < loaded.snapshot_seq + self._snapshot_every:
            return loaded
        snapshot = Snapshot(state=loaded.state, seq=loaded.seq, position=loaded.position)
        self._snapshots.keep(self._stream_of(key), snapshot)
        return replace(loaded, snapshot_seq=loaded.seq)


def _unchanged(loaded: Loaded[State], position: int) -> Handled[State]:
    return Handled(state=_existing(loaded.state), events=(), seq=loaded.seq, position=position)


def _existing(state: State | None) -> State:
    if state is None:
        raise LookupError("a command that led to nothing left no state; this aggregate's decide must raise NotFound")
    return state

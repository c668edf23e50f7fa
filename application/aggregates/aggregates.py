"""Load, decide, append: how every command is handled. After a lost race it is decided again on the fresh state."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec
from msgspec.structs import replace

from application.aggregates.stream_pages import EVENTS_PER_PAGE
from application.command_context import CommandContext
from application.ports.event_store import Append, AppendResult, EventStore, ExpectedSeqConflict
from application.ports.snapshots import Snapshot, SnapshotStore
from application.turns import Turn
from domain.errors import Conflict, DomainError
from domain.event import Event
from domain.record import NewEvent, Occurrence, RecordedEvent

State = TypeVar("State")
Command = TypeVar("Command")
Clock = Callable[[], datetime]
MAX_RACES = 50
EVENTS_PER_SNAPSHOT = 200


class CommandResult(msgspec.Struct, Generic[State], frozen=True, kw_only=True):
    """The state after a command, the new events (none when it changed nothing) and the stream's last seq. `position`: a
    read that has reached it sees what the command led to."""

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


class PlannedAppend(msgspec.Struct, Generic[State], frozen=True, kw_only=True):
    """An append that was decided on the state in memory and is not written yet, and the state after it."""

    key: str
    append: Append
    state: State
    snapshot_seq: int


class Aggregates(Generic[State, Command]):
    """The aggregates of one kind, each in its stream. An LRU cache holds the latest state of `cached` streams; only
    what was appended since is read. A decision on a stale state does no harm: its append is refused.

    A stream that is not in the cache is folded from its newest snapshot on, if `snapshots` has one. A new snapshot is
    stored whenever `snapshot_every` events were folded since the last one.
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
            page = await self.store.read_page(stream, after_seq=known.seq, limit=EVENTS_PER_PAGE)
            known = await self._advance(known, page.events)
            if not page.more:
                return self._remember(key, known)

    async def recent(self, key: str) -> Loaded[State]:
        """The cached state, possibly stale; loaded only if absent. Safe for decisions, since append checks the expected
        seq; a call to something else that is made because of it must be checked there."""
        return self._folds.get(key) or await self.load(key)

    async def handle(
        self, key: str, command: Command, context: CommandContext, *, likely_new: bool = False
    ) -> CommandResult[State]:
        """Decide `command` on the state of `key` and append its events. Raises what `decide` raises, and Conflict
        `too_busy`."""
        return await self.handle_batch(key, [(command, "")], context, likely_new=likely_new)

    async def handle_batch(
        self,
        key: str,
        commands: Sequence[tuple[Command, str]],
        context: CommandContext,
        *,
        likely_new: bool = False,
    ) -> CommandResult[State]:
        """Decide several commands one after the other and append all their events at once. Each command comes with the
        id of the last event that it leads to; with an empty one, event ids derive from the context's command id.
        `likely_new`: a stream that is not in the cache is taken for empty, without a read; if it is not, the append is
        refused and everything is decided again."""
        loaded = self._folds.get(key)
        if loaded is None:
            loaded = Loaded(state=None, seq=0, position=0) if likely_new else await self.load(key)
        for _ in range(MAX_RACES):
            try:
                new, state = self.decide_all(loaded.state, commands, context)
            except DomainError:
                # The state may be stale: a refusal counts only on the fresh one.
                fresh = await self.load(key)
                if fresh.seq == loaded.seq:
                    raise
                loaded = fresh
                continue
            if not new:
                # The state may be stale: "nothing to do" counts only on the fresh one.
                fresh = await self.load(key)
                if fresh.seq == loaded.seq:
                    return _unchanged(fresh, fresh.position)
                loaded = fresh
                continue
            try:
                result = await self.append(key, loaded, new, state)
            except ExpectedSeqConflict:
                loaded = await self.load(key)
                known_event = await self.store.find_event(self._stream_of(key), context.command_id)
                if known_event is not None:
                    return _unchanged(loaded, known_event.position)
                continue
            if result.duplicate:
                return _unchanged(await self.load(key), result.position)
            return CommandResult(
                state=_existing(state),
                events=tuple(event.event for event in new),
                seq=result.last_seq,
                position=result.position,
            )
        raise Conflict(f"{self._stream_of(key)} is too busy: {MAX_RACES} races lost; try again", "too_busy")

    async def append(
        self, key: str, loaded: Loaded[State], new: Sequence[NewEvent], state: State | None
    ) -> AppendResult:
        """Append what was decided on `loaded` and led to `state`. Raises ExpectedSeqConflict: load, decide again."""
        result = await self.store.append(self._stream_of(key), loaded.seq, new)
        if not result.duplicate:
            self._remember(key, replace(loaded, state=state, seq=result.last_seq, position=result.position))
        return result

    def stream(self, key: str) -> str:
        return self._stream_of(key)

    def plan(
        self,
        key: str,
        commands: Sequence[tuple[Command, str]],
        context: CommandContext,
        after: PlannedAppend[State] | None = None,
    ) -> PlannedAppend[State] | None:
        """What the commands lead to on the cached state, or on the one after `after`, which was planned before. None
        when nothing is cached, or when they are refused or change nothing there: that counts only on the fresh
        state."""
        if after is None:
            known = self._folds.get(key)
            if known is None or known.state is None:
                return None
            state, seq, snapshot_seq = known.state, known.seq, known.snapshot_seq
        else:
            state, seq = after.state, after.append.expected_seq + len(after.append.events)
            snapshot_seq = after.snapshot_seq
        try:
            new, decided = self.decide_all(state, commands, context)
        except DomainError:
            return None
        if not new or decided is None:
            return None
        append = Append(stream=self._stream_of(key), expected_seq=seq, events=new)
        return PlannedAppend(key=key, append=append, state=decided, snapshot_seq=snapshot_seq)

    def appended(self, plan: PlannedAppend[State], result: AppendResult) -> CommandResult[State]:
        """Cache the state after a planned append that was written."""
        loaded = Loaded(state=plan.state, seq=result.last_seq, position=result.position, snapshot_seq=plan.snapshot_seq)
        self._remember(plan.key, loaded)
        return CommandResult(
            state=plan.state,
            events=tuple(event.event for event in plan.append.events),
            seq=result.last_seq,
            position=result.position,
        )

    def decide_all(
        self, state: State | None, commands: Sequence[tuple[Command, str]], context: CommandContext
    ) -> tuple[list[NewEvent], State | None]:
        """The events that the commands lead to, as `handle_batch` says, and the state after them."""
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

    async def _advance(self, known: Loaded[State], recorded: Sequence[RecordedEvent]) -> Loaded[State]:
        if not recorded:
            return known
        state: Any = known.state
        turn = Turn()
        for event in recorded:
            state = self._evolve(state, event)
            if turn.over:
                await turn.next()
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


def _unchanged(loaded: Loaded[State], position: int) -> CommandResult[State]:
    return CommandResult(state=_existing(loaded.state), events=(), seq=loaded.seq, position=position)


def _existing(state: State | None) -> State:
    if state is None:
        raise LookupError("a command that led to nothing left no state; this aggregate's decide must raise NotFound")
    return state

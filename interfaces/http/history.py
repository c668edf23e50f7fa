"""State as it was: a stream folded up to a point, with the very folds that make the read models."""

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from application.ports import EventStore
from domain.errors import InvalidInput, NotFound
from domain.identifiers import run_stream, session_stream
from domain.record import RecordedEvent
from domain.run.events import MessageDelta
from interfaces.http.queries import AsOfQuery
from projections import human_loop, runs, session_workers, todos

Value = TypeVar("Value")
_BATCH = 1000


@dataclass(frozen=True, kw_only=True)
class Point:
    """One of the three is given. `seq`: after this event of the stream; `at`: after the last event recorded at or before
    this time; `position`: after the log's event at this position."""

    seq: int | None = None
    at: datetime | None = None
    position: int | None = None

    def includes(self, event: RecordedEvent) -> bool:
        """Whether the event had happened by then."""
        if self.seq is not None:
            return event.seq <= self.seq
        if self.at is not None:
            return event.recorded_at <= self.at
        return self.position is not None and event.position <= self.position


@dataclass(frozen=True, kw_only=True)
class Past(Generic[Value]):
    """A value of the past; `as_of_position` is that of the last event that it includes."""

    value: Value
    as_of_position: int


def as_of(query: AsOfQuery) -> Point | None:
    """The point that a query asks for, None for now. Raises InvalidInput when it names two."""
    given = [name for name in ("at_seq", "at", "at_position") if getattr(query, name) is not None]
    if not given:
        return None
    if len(given) > 1:
        raise InvalidInput("atSeq", "give one of atSeq, at and atPosition")
    return Point(seq=query.at_seq, at=query.at, position=query.at_position)


async def worker_as_of(store: EventStore, session_id: str, point: Point) -> Past[session_workers.SessionWorkerView]:
    """Raises NotFound when the session was not known then, InvalidInput for a point beyond the end."""
    row: session_workers.SessionWorkerRow | None = None
    async for event in _events(store, session_stream(session_id), point):
        row = session_workers.fold(row, event)
    if row is None:
        raise NotFound(f"no session {session_id!r} was known then")
    return Past(value=session_workers.view(row), as_of_position=row.position)


async def run_as_of(store: EventStore, run_id: str, point: Point) -> Past[runs.RunSnapshot]:
    """Raises NotFound when the run was not known then, InvalidInput for a point beyond the end."""
    row: runs.RunRow | None = None
    last: RecordedEvent | None = None
    deltas: deque[tuple[int, str]] = deque(maxlen=runs.MAX_TEXT_DELTAS + 1)
    async for event in _events(store, run_stream(run_id), point):
        row, last = runs.fold(row, event), event
        if isinstance(event.event, MessageDelta) and event.event.channel == "stdout":
            deltas.append((event.seq, event.event.text))
    if row is None or last is None:
        raise NotFound(f"no run {run_id!r} was known then")
    since = [delta for delta in reversed(deltas) if delta[0] > row.message.begins_after]
    end = runs.StreamEnd(seq=last.seq, position=last.position, at=last.occurred_at)
    return Past(value=runs.snapshot(row, end, since), as_of_position=last.position)


async def todos_as_of(store: EventStore, run_id: str, point: Point) -> Past[tuple[todos.TodoView, ...]]:
    """Raises NotFound when the run was not known then, InvalidInput for a point beyond the end."""
    row: todos.TodoRow | None = None
    position = 0
    async for event in _events(store, run_stream(run_id), point):
        row, position = todos.fold(row, event), event.position
    if not position:
        raise NotFound(f"no run {run_id!r} was known then")
    return Past(value=todos.view(row), as_of_position=position)


async def questions_as_of(
    store: EventStore, run_id: str, point: Point
) -> Past[tuple[human_loop.HumanLoopRequest, ...]]:
    """In the order in which they were asked. Raises as `todos_as_of`."""
    events = [event async for event in _events(store, run_stream(run_id), point)]
    if not events:
        raise NotFound(f"no run {run_id!r} was known then")
    rows = human_loop.HUMAN_LOOP.fold_all(events)
    asking = rows.get(run_id)
    run = asking if isinstance(asking, human_loop.AskingRun) else None
    asked = [row for row in rows.values() if isinstance(row, human_loop.HumanLoopRow)]
    questions = tuple(human_loop.view(row, run) for row in sorted(asked, key=lambda row: row.seq))
    return Past(value=questions, as_of_position=events[-1].position)


async def _events(store: EventStore, stream: str, point: Point) -> AsyncIterator[RecordedEvent]:
    await _check_within(store, stream, point)
    after = 0
    while True:
        batch = await store.read_stream(stream, after_seq=after, up_to_seq=point.seq, limit=_BATCH)
        for event in batch:
            if not point.includes(event):
                return
            yield event
        if len(batch) < _BATCH:
            return
        after = batch[-1].seq


async def _check_within(store: EventStore, stream: str, point: Point) -> None:
    if point.seq is not None:
        last = await store.last_seq(stream)
        if last == 0:
            raise NotFound(f"{stream.partition(':')[2]!r} is not known")
        if point.seq > last:
            raise InvalidInput("atSeq", f"{point.seq} is beyond the end of the stream, which is at {last}")
    if point.position is not None:
        end = await store.last_position()
        if point.position > end:
            raise InvalidInput("atPosition", f"{point.position} is beyond the end of the log, which is at {end}")

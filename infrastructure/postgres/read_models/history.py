"""The History port on Postgres: two states of a stream compared, and the first state that a condition holds for."""

from collections.abc import AsyncIterator
from typing import Any

from psycopg import AsyncConnection

import sql
from application.turns import Turn
from domain.errors import InvalidInput, NotFound
from domain.identifiers import DEFAULT_TENANT, run_stream, session_stream
from domain.record import RecordedEvent
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.event_store.reading import PAGE_BYTES
from infrastructure.postgres.read_models.past import end_of_stream, readable, rows_at
from infrastructure.postgres.read_models.read_models import chunks_of
from projections.changes import changes, concerns, patch_of
from projections.condition import Condition
from projections.documents import ALWAYS_CHANGING, Document, DocumentFold, RunFold, SessionFold
from projections.ports import (
    AtSeq,
    Bisection,
    CausingEvent,
    Difference,
    FieldChange,
    HistoryKind,
    TooManyEvents,
)
from projections.projection import Projection
from projections.runs import MAX_CHUNK_BYTES, MAX_CHUNKS, StreamEnd

MAX_EVENTS = 200_000
PAGE_EVENTS = 2000
SEQ = 2
"""The column of a row."""
_LAST = 2**63 - 1


class PostgresHistory:
    def __init__(self, pool: Pool, *, tenant: str = DEFAULT_TENANT) -> None:
        self._pool, self._tenant = pool, tenant

    async def difference(self, kind: HistoryKind, key: str, from_seq: int, to_seq: int | None) -> Difference:
        async with self._pool.connection() as connection:
            stream = _Stream(connection, self._tenant, kind, key)
            last = await stream.end(None, "to")
            end = last if to_seq is None else await stream.end(to_seq, "to")
            if from_seq > end.seq:
                raise InvalidInput("from", f"{from_seq} is after seq {end.seq}, up to which it is to be compared")
            if end.seq - from_seq > MAX_EVENTS:
                raise TooManyEvents(f"{end.seq - from_seq} events lie between; at most {MAX_EVENTS} are compared")
            fold, before = await stream.at(from_seq)
            touched: dict[str, RecordedEvent] = {}
            present = before
            final: RecordedEvent | None = None
            async for recorded in stream.events(from_seq, end.seq):
                final = recorded
                if fold.step(recorded):
                    following = fold.document(_end(recorded)) or {}
                    _note(touched, present, following, recorded)
                    present = following
            after = before if final is None else fold.document(end) or {}
            if final is not None:
                _note(touched, before, after, final, only=ALWAYS_CHANGING)
        found = tuple(changes(before, after))
        return Difference(
            from_seq=from_seq,
            to_seq=end.seq,
            changes=tuple(
                FieldChange(
                    path=change.path,
                    kind=change.kind,
                    before=change.before,
                    after=change.after,
                    by=_cause(touched, change.path),
                )
                for change in found
            ),
            patch=tuple(map(patch_of, found)),
            before=before,
            after=after,
            as_of_position=last.position,
        )

    async def bisect(
        self,
        kind: HistoryKind,
        key: str,
        condition: Condition,
        *,
        monotone: bool,
        from_seq: int = 1,
        to_seq: int | None = None,
    ) -> Bisection:
        async with self._pool.connection() as connection:
            stream = _Stream(connection, self._tenant, kind, key)
            last = await stream.end(None, "to")
            end = last if to_seq is None else await stream.end(to_seq, "to")
            if not 1 <= from_seq <= end.seq:
                raise InvalidInput("from", f"{from_seq} is not between 1 and {end.seq}")
            search = _halved if monotone else _scanned
            seq, evaluated = await search(stream, condition, from_seq, end.seq)
            if seq is None:
                condition.check_fields((await stream.at(end.seq, condition.fields))[1])
            first = None if seq is None else _causing(await stream.event(seq))
        return Bisection(
            where=condition.text,
            found=first is not None,
            first=first,
            last_seq=end.seq,
            evaluated=evaluated,
            as_of_position=last.position,
        )


async def _halved(stream: "_Stream", condition: Condition, low: int, high: int) -> tuple[int | None, int]:
    """The first seq and how many states were looked at, when the condition holds for good once it holds."""
    evaluated, end = 1, high
    if not condition.holds((await stream.at(end, condition.fields))[1]):
        return None, evaluated
    while low < high:
        middle = (low + high) // 2
        evaluated += 1
        if condition.holds((await stream.at(middle, condition.fields))[1]):
            high = middle
        else:
            low = middle + 1
    return low, evaluated


async def _scanned(stream: "_Stream", condition: Condition, low: int, high: int) -> tuple[int | None, int]:
    if high - low > MAX_EVENTS:
        raise TooManyEvents(f"{high - low} events would be looked at; at most {MAX_EVENTS} are")
    fold, document = await stream.at(low)
    evaluated = 1
    if condition.holds(document):
        return low, evaluated
    always = not condition.fields.isdisjoint(ALWAYS_CHANGING)
    async for recorded in stream.events(low, high):
        if fold.step(recorded) or always:
            evaluated += 1
            if condition.holds(fold.document(_end(recorded)) or {}):
                return recorded.seq, evaluated
    return None, evaluated


class _Stream:
    """One run or session, on one connection."""

    def __init__(self, connection: AsyncConnection[Any], tenant: str, kind: HistoryKind, key: str) -> None:
        self._connection, self._tenant, self._kind, self._key = connection, tenant, kind, key
        self._name = run_stream(key) if kind == "run" else session_stream(key)

    async def end(self, seq: int | None, field: str) -> StreamEnd:
        """The event with a seq, or the last one."""
        at = AtSeq(_LAST if seq is None else seq)
        try:
            found = await end_of_stream(
                self._connection, tenant=self._tenant, stream=self._name, at=at, clamp=seq is None
            )
        except InvalidInput as error:
            raise InvalidInput(field, error.message) from error
        if found is None:
            raise NotFound(f"no {self._kind} {self._key!r} is known")
        return found

    async def at(self, seq: int, fields: frozenset[str] | None = None) -> tuple[DocumentFold, Document]:
        """A fold that stands after a seq, and its document, empty before the first event; `fields`: those that will be
        looked at, all of them by default."""
        fold: RunFold | SessionFold = RunFold(self._key) if self._kind == "run" else SessionFold(self._key)
        if seq == 0:
            return fold, {}
        end = await self.end(seq, "from")
        rows: dict[str, dict[str, Any]] = {}
        for projection in fold.projections:
            needed = fields is None or projection is fold.projections[0] or projection.name in _rows_for(fields)
            rows[projection.name] = await self._rows(projection, seq) if needed else {}
        fold.begin(rows)
        if isinstance(fold, RunFold) and fold.row is not None and (fields is None or "text" in fields):
            bounds = {
                "after": fold.row.message.begins_after,
                "up_to": seq,
                "limit": MAX_CHUNKS + 1,
                "max_bytes": MAX_CHUNK_BYTES,
            }
            query = sql.query("reads/message_chunks")
            found = await self._connection.execute(query, {"tenant": self._tenant, "stream": self._name, **bounds})
            fold.begin_text(chunks_of(await found.fetchall()))
        return fold, fold.document(end) or {}

    async def _rows(self, projection: Projection[Any], seq: int) -> dict[str, Any]:
        return await rows_at(self._connection, projection, tenant=self._tenant, stream=self._name, up_to_seq=seq)

    async def event(self, seq: int) -> RecordedEvent:
        async for event in self.events(seq - 1, seq):
            return event
        raise NotFound(f"{self._name} has no event {seq}")

    async def events(self, after: int, up_to: int) -> AsyncIterator[RecordedEvent]:
        """In order, page by page; others get their turn in between."""
        turn = Turn()
        while after < up_to:
            page = min(after + PAGE_EVENTS, up_to)
            async with self._connection.cursor(binary=True) as cursor:
                bounds = {"after": after, "up_to": page, "max_bytes": PAGE_BYTES}
                arguments = {"tenant": self._tenant, "stream": self._name, **bounds}
                await cursor.execute(sql.query("reads/stream_part"), arguments)
                rows = await cursor.fetchall()
            for row in rows:
                yield readable(row)
                if turn.over:
                    await turn.next()
            after = rows[-1][SEQ] if rows else page


def _rows_for(fields: frozenset[str]) -> set[str]:
    """The read models that a run's document needs for some of its fields."""
    return {name for field, name in (("todos", "todos"), ("questions", "human_loop")) if field in fields}


def _note(
    touched: dict[str, RecordedEvent],
    before: Document,
    after: Document,
    recorded: RecordedEvent,
    *,
    only: tuple[str, ...] = (),
) -> None:
    """Remember the paths that an event changed; those that every event changes are left for the last one."""
    for change in changes(before, after):
        if (change.path[1:] in ALWAYS_CHANGING) == bool(only):
            touched[change.path] = recorded


def _cause(touched: dict[str, RecordedEvent], path: str) -> CausingEvent | None:
    """The last event that changed something there."""
    found = [event for place, event in touched.items() if concerns(place, path)]
    return _causing(max(found, key=lambda event: event.seq)) if found else None


def _causing(event: RecordedEvent) -> CausingEvent:
    return CausingEvent(
        seq=event.seq,
        position=event.position,
        type=event.event.wire_name,
        event_id=event.event_id,
        occurred_at=event.occurred_at,
    )


def _end(recorded: RecordedEvent) -> StreamEnd:
    return StreamEnd(seq=recorded.seq, position=recorded.position, at=recorded.occurred_at)

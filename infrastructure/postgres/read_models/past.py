"""State as of a seq, position or time: one stream's events up to there, folded as for the read models."""

from typing import Any, TypeVar

import msgspec
from psycopg import AsyncConnection

import sql
from application.turns import Turn
from domain.errors import InvalidInput
from domain.event import WrittenByNewerVersion
from domain.operations.log_consumer import BlockingEvent
from domain.record import RecordedEvent
from infrastructure.postgres.event_store.reading import PAGE_BYTES
from infrastructure.postgres.projector.log_page import decoded_or_blocking
from projections.ports import AsOf, AtPosition, AtSeq, AtTime
from projections.projection import Projection
from projections.runs import StreamEnd

Row = TypeVar("Row", bound=msgspec.Struct)
PAGE_EVENTS = 2000
_END_OF_NUMBERS = 2**63 - 1


class UnreadableEvent(Exception):
    """An event of the stream can't be decoded; the message names it."""


async def position_of(connection: AsyncConnection[Any], at: AsOf) -> int:
    """The position that a moment of the whole log stands for. Raises InvalidInput for one beyond its end."""
    time = at.time if isinstance(at, AtTime) else None
    row = await (await connection.execute(sql.query("position_at"), {"time": time})).fetchone()
    assert row is not None
    position, end = row
    if isinstance(at, AtTime):
        return int(position)
    if isinstance(at, AtSeq):
        raise InvalidInput("atSeq", "names no moment of the whole log; give atPosition or at")
    if at.position > end:
        raise InvalidInput("atPosition", f"{at.position} is beyond the end of the log, which is at {end}")
    return at.position


async def end_of_stream(
    connection: AsyncConnection[Any], *, tenant: str, stream: str, at: AtSeq | AtPosition, clamp: bool = False
) -> StreamEnd | None:
    """The stream's last event up to a seq or position; None when there was none yet. Raises InvalidInput for a seq
    that the stream does not have, unless `clamp`: then it is the stream's last event up to there."""
    cursor = await connection.execute(
        sql.query("reads/stream_end"),
        {
            "tenant": tenant,
            "stream": stream,
            "seq": at.seq if isinstance(at, AtSeq) else _END_OF_NUMBERS,
            "position": at.position if isinstance(at, AtPosition) else _END_OF_NUMBERS,
        },
    )
    found = await cursor.fetchone()
    if found is None:
        return None
    seq, position, occurred_at, last_seq = found
    if isinstance(at, AtSeq) and not 1 <= at.seq <= last_seq and not clamp:
        raise InvalidInput("atSeq", f"{at.seq} is not between 1 and {last_seq}, the last seq of {stream}")
    return None if seq is None else StreamEnd(seq=seq, position=position, at=occurred_at)


async def rows_at(
    connection: AsyncConnection[Any], projection: Projection[Row], *, tenant: str, stream: str, up_to_seq: int
) -> dict[str, Row]:
    """The rows that the stream's events up to a seq make, by key. Raises as `readable` does."""
    after, rows = await _kept_rows(connection, projection, tenant=tenant, stream=stream, up_to_seq=up_to_seq)
    types = sorted(projection.event_types)
    turn = Turn()
    while True:
        bounds = {"after": after, "up_to": up_to_seq, "limit": PAGE_EVENTS, "max_bytes": PAGE_BYTES}
        async with connection.cursor(binary=True) as cursor:
            arguments = {"tenant": tenant, "stream": stream, "types": types, **bounds}
            await cursor.execute(sql.query("reads/stream_of_types"), arguments)
            page = await cursor.fetchall()
        for stored in page:
            recorded = readable(stored)
            key = projection.key(recorded)
            row = projection.fold(rows.get(key), recorded)
            if row is not None:
                rows[key] = row
            if turn.over:
                await turn.next()
        if not page:
            return rows
        after = recorded.seq


async def _kept_rows(
    connection: AsyncConnection[Any], projection: Projection[Row], *, tenant: str, stream: str, up_to_seq: int
) -> tuple[int, dict[str, Row]]:
    """The seq of the newest row snapshot up to `up_to_seq`, and its row by key; 0 and no row when there is none."""
    if not projection.row_per_stream:
        return 0, {}
    arguments = {
        "projection": projection.name,
        "fold_version": projection.version,
        "tenant": tenant,
        "stream": stream,
        "up_to": up_to_seq,
    }
    found = await (await connection.execute(sql.query("reads/newest_snapshot"), arguments)).fetchone()
    if found is None:
        return 0, {}
    return found[0], {stream.partition(":")[2]: projection.decode(found[1])}


def readable(row: tuple[Any, ...]) -> RecordedEvent:
    """A row of the log, decoded. Raises WrittenByNewerVersion, UnreadableEvent."""
    recorded = decoded_or_blocking(row)
    if isinstance(recorded, BlockingEvent):
        broken = WrittenByNewerVersion if recorded.newer else UnreadableEvent
        raise broken(f"the event at position {recorded.position} can't be read: {recorded.error}")
    return recorded

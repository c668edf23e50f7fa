"""State as it was: the events of one stream up to a moment, folded by the same folds that make the read models."""

import asyncio
from typing import Any, TypeVar

import msgspec
from psycopg import AsyncConnection

import sql
from domain.errors import InvalidInput
from domain.record import RecordedEvent
from infrastructure.projector.log_page import Undecodable, recorded_event
from projections.ports import AtPosition, AtSeq, AtTime, Moment
from projections.projection import Projection
from projections.runs import StreamEnd

Row = TypeVar("Row", bound=msgspec.Struct)
FOLDS_PER_TURN = 250
_END_OF_NUMBERS = 2**63 - 1


class UnreadableEvent(Exception):
    """An event of the stream can't be decoded; the message names it."""


async def position_of(connection: AsyncConnection[Any], at: Moment) -> int:
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
    """The stream's last event at a moment; None when there was none yet. Raises InvalidInput for a seq beyond the
    end, unless `clamp` says that its last event will do."""
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
    if isinstance(at, AtSeq) and at.seq > last_seq and not clamp:
        raise InvalidInput("atSeq", f"{at.seq} is beyond the end of {stream}, which is at seq {last_seq}")
    return None if seq is None else StreamEnd(seq=seq, position=position, at=occurred_at)


async def rows_at(
    connection: AsyncConnection[Any], projection: Projection[Row], *, tenant: str, stream: str, up_to_seq: int
) -> dict[str, Row]:
    """The rows that the stream's events up to a seq make, by key. Raises UnreadableEvent."""
    after, rows = await _kept_rows(connection, projection, tenant=tenant, stream=stream, up_to_seq=up_to_seq)
    async with connection.cursor(binary=True) as cursor:
        await cursor.execute(
            sql.query("reads/stream_of_types"),
            {
                "tenant": tenant,
                "stream": stream,
                "after": after,
                "up_to": up_to_seq,
                "types": sorted(projection.event_types),
            },
        )
        for number, stored in enumerate(await cursor.fetchall(), 1):
            recorded = readable(stored)
            key = projection.key(recorded)
            row = projection.fold(rows.get(key), recorded)
            if row is not None:
                rows[key] = row
            if number % FOLDS_PER_TURN == 0:
                await asyncio.sleep(0)
    return rows


async def _kept_rows(
    connection: AsyncConnection[Any], projection: Projection[Row], *, tenant: str, stream: str, up_to_seq: int
) -> tuple[int, dict[str, Row]]:
    """Up to which seq the projector has kept the stream's row, and that row; 0 and nothing when it hasn't."""
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
    """A row of the log, decoded. Raises UnreadableEvent."""
    recorded = recorded_event(row)
    if isinstance(recorded, Undecodable):
        raise UnreadableEvent(f"the event at position {recorded.position} can't be read: {recorded.error}")
    return recorded

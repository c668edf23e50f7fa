"""A part of the log as a batch of projections sees it: decoded once, for all of them."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
from psycopg import AsyncConnection

import sql
from domain.event import NewerSchemaVersion, decode
from domain.record import Metadata, RecordedEvent

MAX_PAGE_BYTES = 32 * 1024 * 1024
DECODED_PER_TURN = 500
"""How many events are decoded before other tasks of the event loop get their turn: a few milliseconds."""

_decode_metadata = msgspec.json.Decoder(Metadata).decode


class Undecodable(msgspec.Struct, frozen=True, kw_only=True):
    """An event whose payload this code can't read. `newer`: because newer code wrote it."""

    position: int
    type: str
    error: str
    newer: bool


class LogPage(msgspec.Struct, frozen=True, kw_only=True):
    """The events of interest in (after, up_to]; of every other event there it is known that it is of no interest."""

    after: int
    up_to: int
    events: Sequence[RecordedEvent | Undecodable]
    at_end: bool


async def read_page(
    connection: AsyncConnection[Any], *, after: int, up_to: int, types: Sequence[str], max_bytes: int = MAX_PAGE_BYTES
) -> LogPage:
    """The events of `types` after a position and up to another one, or to the log's end if that is lower."""
    async with connection.pipeline():
        head_cursor = await connection.execute(sql.query("last_position"))
        cursor = connection.cursor(binary=True)
        await cursor.execute(
            sql.query("projections/read_page"),
            {"after": after, "up_to": up_to, "types": types, "max_bytes": max_bytes},
            prepare=True,
        )
        head_row = await head_cursor.fetchone()
        rows = await cursor.fetchall()
    assert head_row is not None
    head: int = head_row[0]
    last = rows[-1][0] if rows else 0
    if sum(len(row[9]) for row in rows) >= max_bytes:
        reached = last
    else:
        # Positions appear in order: whatever lies up to the head that was read first has been seen.
        reached = max(min(head, up_to), last, after)
    events: list[RecordedEvent | Undecodable] = []
    for start in range(0, len(rows), DECODED_PER_TURN):
        events += [recorded_event(row) for row in rows[start : start + DECODED_PER_TURN]]
        await asyncio.sleep(0)
    return LogPage(after=after, up_to=reached, events=events, at_end=reached >= head)


def recorded_event(row: tuple[Any, ...]) -> RecordedEvent | Undecodable:
    """A row of `projections/read_page`, decoded as far as this code can."""
    position, stream, seq, wire_name, schema_version, event_id, occurred_at, recorded_at, metadata, payload, tenant = (
        row
    )
    try:
        return RecordedEvent(
            position=position,
            stream=stream,
            seq=seq,
            event_id=event_id,
            event=decode(wire_name, schema_version, payload),
            occurred_at=occurred_at,
            recorded_at=recorded_at,
            metadata=_decode_metadata(metadata),
            tenant=tenant,
        )
    except NewerSchemaVersion as error:
        return Undecodable(position=position, type=wire_name, error=str(error), newer=True)
    except Exception as error:  # noqa: BLE001  # an upcast may fail in any way; it must stop its projections alone
        return Undecodable(position=position, type=wire_name, error=describe(error), newer=False)


def describe(error: BaseException) -> str:
    """One line for people: what went wrong, and of which kind; without NUL, which Postgres can't keep."""
    return f"{type(error).__name__}: {error}"[:2000].replace("\0", "\\0")

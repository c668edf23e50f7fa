"""A part of the log as a batch of projections sees it: decoded once, for all of them."""

from collections.abc import Sequence
from typing import Any

import msgspec
from psycopg import AsyncConnection

import sql
from application.turns import Turn
from domain.operations.log_consumer import BlockingEvent, blocking_event
from domain.record import RecordedEvent
from infrastructure.postgres.event_store.reading import decoded

MAX_PAGE_BYTES = 4 * 1024 * 1024


class LogPage(msgspec.Struct, frozen=True, kw_only=True):
    """The events of interest in (after, up_to], or why this code can't decode them; no other event there is of
    interest."""

    after: int
    up_to: int
    events: Sequence[RecordedEvent | BlockingEvent]
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
    events: list[RecordedEvent | BlockingEvent] = []
    turn = Turn()
    for row in rows:
        events.append(decoded_or_blocking(row))
        if turn.over:
            await turn.next()
    return LogPage(after=after, up_to=reached, events=events, at_end=reached >= head)


def decoded_or_blocking(row: tuple[Any, ...]) -> RecordedEvent | BlockingEvent:
    """A row of `projections/read_page`, decoded as far as this code can."""
    try:
        return decoded(*row)
    except Exception as error:  # noqa: BLE001  # an upcast may fail in any way; it stops only the projections of its type
        return blocking_event(row[0], row[3], error)

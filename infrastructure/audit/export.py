"""The log as JSON Lines, for the server: without a thread. Programs read it by `LogRecorder.exported_lines`."""

from collections.abc import AsyncIterator

import sql
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.event_store.exported_event import exported_lines
from infrastructure.postgres.event_store.reading import PAGE_BYTES, PAGE_EVENTS


async def exported(pool: Pool, *, after: int, up_to: int) -> AsyncIterator[bytes]:
    """The lines of the events in (after, up_to], some at a time."""
    while after < up_to:
        arguments = {"after": after, "up_to": up_to, "limit": PAGE_EVENTS, "max_bytes": PAGE_BYTES}
        async with pool.connection() as connection, connection.cursor(binary=True) as cursor:
            await cursor.execute(sql.query("audit/export_page"), arguments)
            rows = await cursor.fetchall()
        if not rows:
            return
        yield exported_lines(rows)
        after = rows[-1][0]

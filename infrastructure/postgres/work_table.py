"""What tables of work have in common: statements that outlive lost connections, and waiting for rows to become due."""

import asyncio
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool

import sql
from infrastructure.postgres.listener import ChannelSignal

RETRY_SECONDS = 10.0
RETRY_DELAY_SECONDS = 0.1
SHORTEST_WAIT_SECONDS = 0.05
Pool = AsyncConnectionPool[AsyncConnection[Any]]


async def rows_of(pool: Pool, query: str, arguments: dict[str, Any], row_factory: Any = tuple_row) -> list[Any]:
    """The rows of a named query. It must bear being executed twice: it is tried again for 10 seconds when its
    connection dies, as those of a pool do when the server restarts. A claim made in vain runs out like any other."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + RETRY_SECONDS
    while True:
        try:
            async with pool.connection() as connection, connection.cursor(row_factory=row_factory) as cursor:
                await cursor.execute(sql.query(query), arguments, prepare=True)
                return await cursor.fetchall() if cursor.description else []
        except psycopg.OperationalError:
            if loop.time() > deadline:
                raise
            await asyncio.sleep(RETRY_DELAY_SECONDS)


class NextDue:
    """When the next row of a table of work becomes due, as its last claim told."""

    def __init__(self, signal: ChannelSignal) -> None:
        self._signal = signal
        self._at: float | None = None

    def told(self, due_in: float | None) -> None:
        """In so many seconds; none or less: rows are due which others are about to claim. None: not by itself."""
        self._at = None if due_in is None else asyncio.get_running_loop().time() + max(due_in, SHORTEST_WAIT_SECONDS)

    async def wait(self, timeout_s: float) -> None:
        """Return on a notification, when the next row is due, or after `timeout_s` seconds."""
        if self._at is not None:
            timeout_s = min(timeout_s, max(self._at - asyncio.get_running_loop().time(), 0))
        await self._signal.wait(timeout_s)

    def wake(self) -> None:
        """Something has become due by what this process did itself."""
        self._signal.wake()

"""What tables of work have in common: statements that outlive lost connections, and waiting for rows to become due."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool

import sql
from infrastructure.postgres.listener import ChannelSignal

RETRY_SECONDS = 10.0
RETRY_DELAY_SECONDS = 0.1
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


async def wait_until_due(
    signal: ChannelSignal, next_due: Callable[[], Awaitable[float | None]], timeout_s: float
) -> None:
    """Return on a notification, when the next row becomes due, or after `timeout_s` seconds.

    `next_due` gives the seconds until then; none or less means that rows are due which others are about to claim, so it
    counts as a short wait.
    """
    due = await next_due()
    patience = timeout_s if due is None else min(timeout_s, max(due, 0.05))
    await signal.wait(patience)

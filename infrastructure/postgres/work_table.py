"""What tables of work have in common: claims made one at a time, and waiting for rows to become due."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

import sql
from infrastructure.postgres.listener import ChannelSignal


@asynccontextmanager
async def claiming(pool: AsyncConnectionPool[AsyncConnection[Any]], lock: int) -> AsyncIterator[AsyncConnection[Any]]:
    """A transaction that holds the advisory lock `lock`: it sees every claim that was made before it."""
    async with pool.connection() as connection, connection.transaction():
        await connection.execute(sql.query("lock_claims"), {"lock": lock})
        yield connection


async def wait_until_due(
    signal: ChannelSignal, next_due: Callable[[], Awaitable[float | None]], timeout_s: float
) -> None:
    """Return on a notification, when the next row becomes due, or after `timeout_s` seconds.

    `next_due` gives the seconds until then; 0 means that rows are due which others hold, so it counts as a short wait.
    """
    due = await next_due()
    patience = timeout_s if due is None else min(timeout_s, max(due, 0.05))
    await signal.wait(patience)

"""Queries that outlive lost connections."""

import asyncio
from typing import Any

import psycopg
from psycopg.rows import tuple_row

import sql
from infrastructure.postgres.connections import Pool

RETRY_SECONDS = 10.0
RETRY_DELAY_SECONDS = 0.1


async def rows_of(
    pool: Pool,
    query: str,
    arguments: dict[str, Any],
    row_factory: Any = tuple_row,
    *,
    binary: bool = False,
    paged: bool = False,
) -> list[Any]:
    """The rows of a named query; `paged`: up to %(max_bytes)s of payload. The query must be safe to repeat: it is tried
    again for 10 seconds when its connection dies, as those of a pool do when the server restarts. A claim whose result
    is lost expires. Raises psycopg.OperationalError, for a full disk at once."""
    statement = sql.page_of(query) if paged else sql.query(query)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + RETRY_SECONDS
    while True:
        try:
            async with (
                pool.connection() as connection,
                connection.cursor(binary=binary, row_factory=row_factory) as cursor,
            ):
                await cursor.execute(statement, arguments, prepare=True)
                return await cursor.fetchall() if cursor.description else []
        except psycopg.errors.DiskFull:
            raise
        except psycopg.OperationalError:
            if loop.time() > deadline:
                raise
            await asyncio.sleep(RETRY_DELAY_SECONDS)

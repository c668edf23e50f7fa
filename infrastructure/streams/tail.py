"""The one reader of the log's end: reads each new event once, in order, and gives it to this process's subscribers."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import psycopg
from psycopg import AsyncConnection

import sql
from infrastructure.eventstore.reading import StoredRow, stored_row_factory
from infrastructure.postgres.sessions import STATEMENT_TIMEOUT_SECONDS, connect

BATCH_ROWS = 1000
BATCH_BYTES = 1024 * 1024
POLL_SECONDS = 0.5
PACE_SECONDS = 0.002
"""Reads begin no closer together than this: under load, one of them takes what several commits have written."""
FIRST_RETRY_SECONDS = 0.02
LAST_RETRY_SECONDS = 1.0

_logger = logging.getLogger(__name__)


class Wakeups(Protocol):
    """Hints that the log goes on; see infrastructure/postgres/listener.py."""

    async def wait_for(self, position_greater_than: int, timeout: float) -> int: ...


class Tail:
    """Reads from where the log ends at `start`, on a connection of its own, until `close`. Outlives lost connections
    and restarts of the database; while no wake-up comes it looks once per `poll_seconds`."""

    def __init__(
        self,
        dsn: str,
        *,
        tenant: str,
        wakeups: Wakeups,
        dispatch: Callable[[Sequence[StoredRow]], None],
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self.position = 0
        self._dsn, self._tenant, self._wakeups, self._dispatch = dsn, tenant, wakeups, dispatch
        self._poll_seconds = poll_seconds
        self._connection: AsyncConnection[Any] | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Find the end of the log. Raises psycopg.Error when the database can't be reached."""
        connection = await self._connected()
        row = await (await connection.execute(sql.query("last_position"))).fetchone()
        assert row is not None
        self.position = row[0]
        self._task = asyncio.create_task(self._follow(), name="log tail")
        self._task.add_done_callback(log_failure)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=5)
            self._task = None
        await self._disconnect()

    @property
    def failed(self) -> bool:
        """The reader has died of an error that it did not foresee (the log of the process has it)."""
        return self._task is not None and self._task.done()

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        delay, signalled = FIRST_RETRY_SECONDS, 0
        while True:
            began = loop.time()
            try:
                rows = await self._read()
            except (psycopg.Error, TimeoutError, OSError) as error:
                _logger.warning("the tail of the log can't be read, trying again", extra={"error": str(error)})
                await self._disconnect()
                await asyncio.sleep(delay)
                delay = min(2 * delay, LAST_RETRY_SECONDS)
                continue
            delay = FIRST_RETRY_SECONDS
            if rows:
                self.position = rows[-1].position
                self._dispatch(rows)
            else:
                # What was signalled before this read belongs to another tenant.
                signalled = await self._wakeups.wait_for(max(self.position, signalled), self._poll_seconds)
            await asyncio.sleep(began + PACE_SECONDS - loop.time())

    async def _read(self) -> list[StoredRow]:
        async with asyncio.timeout(STATEMENT_TIMEOUT_SECONDS + 5):
            connection = await self._connected()
            cursor = connection.cursor(binary=True, row_factory=stored_row_factory)
            arguments = {
                "tenant": self._tenant,
                "after": self.position,
                "max_rows": BATCH_ROWS,
                "max_bytes": BATCH_BYTES,
            }
            await cursor.execute(sql.query("read_tail"), arguments, prepare=True)
            rows: list[StoredRow] = await cursor.fetchall()
            return rows

    async def _connected(self) -> AsyncConnection[Any]:
        if self._connection is None:
            self._connection = await connect(self._dsn)
        return self._connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


def log_failure(task: asyncio.Task[None]) -> None:
    """For tasks that should run until they are cancelled: nobody awaits them, so their end must be seen."""
    if not task.cancelled():
        _logger.critical("%s has ended", task.get_name(), exc_info=task.exception())

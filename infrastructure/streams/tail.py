"""The one reader of the log's end: reads each new event once, in order, and gives it to this process's subscribers."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import psycopg
from psycopg import AsyncConnection

import sql
from infrastructure.eventstore.announcement import Announcement, announcement
from infrastructure.eventstore.reading import StoredRow, stored_row_factory
from infrastructure.postgres.sessions import STATEMENT_TIMEOUT_SECONDS, connect

BATCH_ROWS = 1000
MAX_ANNOUNCED = 1000
BATCH_BYTES = 1024 * 1024
POLL_SECONDS = 0.5
PACE_SECONDS = 0.002
"""Reads begin no closer together than this: under load, one of them takes what several commits have written."""
FIRST_RETRY_SECONDS = 0.02
LAST_RETRY_SECONDS = 1.0

_logger = logging.getLogger(__name__)


class Wakeups(Protocol):
    """Hints that the log goes on; see PositionSignal in infrastructure/postgres/listener.py."""

    follower: Callable[[int, bytes], None] | None


class Tail:
    """Reads from where the log ends at `start`, on a connection of its own, until `close`. Outlives lost connections
    and restarts of the database; while no wake-up comes it looks once per `poll_seconds`. Events that a notification
    carries, and that are the next ones, are passed on without a read."""

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
        self._heard_of = 0
        self._behind: asyncio.Future[None] | None = None  # there while nothing is read
        self._announced: deque[Announcement] = deque(maxlen=MAX_ANNOUNCED)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Find the end of the log. Raises psycopg.Error when the database can't be reached."""
        connection = await self._connected()
        row = await (await connection.execute(sql.query("last_position"))).fetchone()
        assert row is not None
        self.position = row[0]
        self._wakeups.follower = self._hear
        self._task = asyncio.create_task(self._follow(), name="log tail")
        self._task.add_done_callback(log_failure)

    async def close(self) -> None:
        self._wakeups.follower = None
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
        delay = FIRST_RETRY_SECONDS
        while True:
            began, heard_of = loop.time(), self._heard_of
            try:
                rows = await self._read()
            except (psycopg.Error, TimeoutError, OSError) as error:
                _logger.warning("the tail of the log can't be read, trying again", extra={"error": str(error)})
                await self._disconnect()
                await asyncio.sleep(delay)
                delay = min(2 * delay, LAST_RETRY_SECONDS)
                continue
            delay = FIRST_RETRY_SECONDS
            self._pass_on(rows)
            # What is not there although it was heard of before the read belongs to another tenant.
            if (self._pass_on_announced() or not rows) and self._heard_of <= max(self.position, heard_of):
                await self._wait_until_behind(loop)
            await asyncio.sleep(began + PACE_SECONDS - loop.time())

    async def _wait_until_behind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Until something must be read. What needs no read is passed on meanwhile."""
        self._behind = loop.create_future()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_seconds):
                    await self._behind
        finally:
            self._behind = None

    def _hear(self, last: int, said: bytes) -> None:
        self._heard_of = max(self._heard_of, last)
        heard = announcement(last, said) if said and last > self.position else None
        if self._behind is None:
            if heard is not None:
                self._announced.append(heard)
        elif heard is not None and heard.rows[0].position <= self.position + 1:
            try:
                self._take(heard)
            except Exception as error:  # noqa: BLE001  # it is the tail's, not the listener's
                _set_once(self._behind, error)
        elif last > self.position:
            _set_once(self._behind)

    def _pass_on_announced(self) -> bool:
        """Pass on what was announced during a read; whether that leads to the end of the log as far as it is known."""
        while self._announced and self._announced[0].rows[0].position <= self.position + 1:
            self._take(self._announced.popleft())
        complete = not self._announced and self._heard_of == self.position
        self._announced.clear()
        return complete

    def _take(self, heard: Announcement) -> None:
        last = heard.rows[-1].position
        if last <= self.position:
            return
        if heard.tenant == self._tenant:
            self._pass_on([row for row in heard.rows if row.position > self.position])
        self.position = last

    def _pass_on(self, rows: Sequence[StoredRow]) -> None:
        if rows:
            self.position = rows[-1].position
            self._dispatch(rows)

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


def _set_once(future: asyncio.Future[None], error: Exception | None = None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


def log_failure(task: asyncio.Task[None]) -> None:
    """For tasks that should run until they are cancelled: nobody awaits them, so their end must be seen."""
    if not task.cancelled():
        _logger.critical("%s has ended", task.get_name(), exc_info=task.exception())

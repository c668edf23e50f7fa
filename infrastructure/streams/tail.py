"""The tail of the log: reads each new event once, in order, and passes it to this process's subscribers."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from psycopg import AsyncConnection

import sql
from infrastructure.postgres.connections import STATEMENT_TIMEOUT_SECONDS, connect
from infrastructure.postgres.continuity import LogContinuity
from infrastructure.postgres.event_store.announcement import Announcement, announcement
from infrastructure.postgres.event_store.errors import LogDiscontinued
from infrastructure.postgres.event_store.reading import StoredRow, stored_row_factory
from infrastructure.postgres.listener import PositionSignal

BATCH_ROWS = 1000
MAX_ANNOUNCED = 1000
BATCH_BYTES = 1024 * 1024
POLL_SECONDS = 1.0
PACE_SECONDS = 0.002
"""The shortest time from one read to the next: under load, one read takes the events of several commits."""
FIRST_RETRY_SECONDS = 0.02
LAST_RETRY_SECONDS = 1.0

_logger = logging.getLogger(__name__)


class Tail:
    """Reads on from the end of the log as of `start`, on a connection of its own, until `close`. It reconnects after
    lost connections and restarts of the database. Without announcements it reads every `poll_seconds`. If an
    announcement carries the next events, they are passed on without a read. `position`: up to where it has got.
    It ends at a log that does not continue `continuity`."""

    def __init__(
        self,
        dsn: str,
        *,
        tenant: str,
        announcements: PositionSignal,
        dispatch: Callable[[Sequence[StoredRow]], None],
        continuity: LogContinuity,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self.position = 0
        self._dsn, self._tenant, self._announcements = dsn, tenant, announcements
        self._dispatch, self._continuity = dispatch, continuity
        self._poll_seconds = poll_seconds
        self._connection: AsyncConnection[Any] | None = None
        self._notified_position = 0
        self._behind: asyncio.Future[None] | None = None  # set while waiting; its result means that a read is needed
        self._during_read: deque[Announcement] = deque(maxlen=MAX_ANNOUNCED)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Find the end of the log. Raises psycopg.Error when the database can't be reached."""
        connection = await self._connected()
        row = await (await connection.execute(sql.query("last_position"))).fetchone()
        assert row is not None
        self.position = row[0]
        self._announcements.follower = self._on_notification
        self._task = asyncio.create_task(self._follow(), name="log tail")
        self._task.add_done_callback(log_failure)

    async def close(self) -> None:
        self._announcements.follower = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=5)
            self._task = None
        await self._disconnect()

    @property
    def failed(self) -> bool:
        """Whether the reader has died of an unexpected error, which it has logged."""
        return self._task is not None and self._task.done()

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        delay = FIRST_RETRY_SECONDS
        while True:
            began, notified_before = loop.time(), self._notified_position
            try:
                rows = await self._read()
            except LogDiscontinued:
                return
            except (psycopg.Error, TimeoutError, OSError) as error:
                _logger.warning("the tail of the log can't be read, trying again", extra={"error": str(error)})
                await self._disconnect()
                await asyncio.sleep(delay)
                delay = min(2 * delay, LAST_RETRY_SECONDS)
                continue
            delay = FIRST_RETRY_SECONDS
            self._pass_on(rows)
            # A position that was announced before the read, and that the read did not find, is another tenant's.
            at_end = self._pass_on_announced() or not rows
            if at_end and self._notified_position <= max(self.position, notified_before):
                await self._wait_until_behind(loop)
            await asyncio.sleep(began + PACE_SECONDS - loop.time())

    async def _wait_until_behind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait until a read is needed, `poll_seconds` at most. Announced events are passed on meanwhile."""
        self._behind = loop.create_future()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_seconds):
                    await self._behind
        finally:
            self._behind = None

    def _on_notification(self, last: int, text: bytes) -> None:
        self._notified_position = max(self._notified_position, last)
        announced = announcement(last, text) if text and last > self.position else None
        if self._behind is None:
            if announced is not None:
                self._during_read.append(announced)
        elif announced is not None and announced.rows[0].position <= self.position + 1:
            try:
                self._take(announced)
            except Exception as error:  # noqa: BLE001  # raised in the tail's task, not in the listener's
                _set_once(self._behind, error)
        elif last > self.position:
            _set_once(self._behind)

    def _pass_on_announced(self) -> bool:
        """Pass on what was announced during the read that ended; whether that reaches the last announced position."""
        while self._during_read and self._during_read[0].rows[0].position <= self.position + 1:
            self._take(self._during_read.popleft())
        complete = not self._during_read and self._notified_position == self.position
        self._during_read.clear()
        return complete

    def _take(self, announced: Announcement) -> None:
        last = announced.rows[-1].position
        if last <= self.position:
            return
        if announced.tenant == self._tenant:
            self._pass_on([row for row in announced.rows if row.position > self.position])
        self.position = last

    def _pass_on(self, rows: Sequence[StoredRow]) -> None:
        if rows:
            self.position = rows[-1].position
            self._continuity.saw(self.position, rows[-1].event_id)
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
            self._connection = await connect(self._dsn, self._continuity)
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
    """Done-callback for tasks that run until they are cancelled: nobody awaits them, so log any other end."""
    if not task.cancelled():
        _logger.critical("%s has ended", task.get_name(), exc_info=task.exception())

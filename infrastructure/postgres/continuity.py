"""Notices that the log went back: a failover lost commits, or an older copy of the database was restored under a
running process. Its decisions, caches and streams would then rest on events that do not exist.

A process remembers the end of its log twice: by the chain hash that a query found, each second, and by the id of the
last event that it has appended, or that its tail has passed on. The log continues that while both events are where they
were. A server can't lose what it has committed while a connection to it lives. So this is asked first on each new
connection that writes, listens or reads the tail, or a checkpoint, a claim or a snapshot of this process would get into
a database that lacks what it rests on; and each second besides, in case the content of a running database was replaced.
"""

import asyncio
import logging
from typing import Any

from psycopg import AsyncConnection

import sql
from infrastructure.postgres.event_store.errors import LogDiscontinued

HOW_TO = "docs/how-to/log-that-went-back.md"
_logger = logging.getLogger(__name__)


class LogContinuity:
    """One per process. `broken`: what is wrong, once the log does not continue what this process has seen."""

    def __init__(self) -> None:
        self.broken = ""
        self._hashed: tuple[int, bytes] = (0, b"")
        self._seen: tuple[int, str] = (0, "")
        self._breaks = asyncio.Event()

    @property
    def last_seen(self) -> int:
        """The position of the last event that `saw` was told."""
        return self._seen[0]

    @property
    def last_hashed(self) -> int:
        """The last position that a check has found."""
        return self._hashed[0]

    def saw(self, position: int, event_id: str) -> None:
        """The log has this event at the position."""
        if position > self._seen[0]:
            self._seen = (position, event_id)

    async def check(self, connection: AsyncConnection[Any]) -> int:
        """The last position. Raises LogDiscontinued, also when an earlier check found that, and psycopg.Error."""
        self.require_unbroken()
        (hash_at, expected_hash), (id_at, expected_id) = self._hashed, self._seen
        cursor = await connection.execute(sql.query("log_end"), {"hash_at": hash_at, "id_at": id_at})
        row = await cursor.fetchone()
        assert row is not None
        last, last_hash, found_hash, found_id = row
        for position, expected, found in (
            (hash_at, expected_hash.hex(), found_hash and found_hash.hex()),
            (id_at, expected_id, found_id),
        ):
            if position and found != expected:
                self._break(position, expected, found, last)
        if last >= self._hashed[0]:
            self._hashed = (last, last_hash or b"")
        return int(last)

    def require_unbroken(self) -> None:
        """Raises LogDiscontinued."""
        if self.broken:
            raise LogDiscontinued(self.broken)

    async def until_broken(self) -> None:
        """Wait until a check finds that the log does not continue. Raises LogDiscontinued then."""
        await self._breaks.wait()
        self.require_unbroken()

    def _break(self, position: int, expected: str, found: str | None, last: int) -> None:
        there = f"has {found} there" if found else "has no such position"
        self.broken = (
            f"the log went back: this process has seen {expected} at position {position}, and the log, which ends at "
            f"position {last}, {there}. A failover has lost commits, or an older copy of the database was restored. "
            f"Nothing is decided on it: this process ends. {HOW_TO} says what to do"
        )
        _logger.critical(self.broken)
        self._breaks.set()
        self.require_unbroken()

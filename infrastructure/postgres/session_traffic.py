"""The traffic of sessions, counted in memory and added to a table at most about once a second for each session."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import psycopg

import sql
from application.ports.session_traffic import Traffic
from domain.identifiers import DEFAULT_TENANT
from infrastructure.postgres.connections import Pool

ADD_AFTER_S = 1.0
ADD_EVENTS, ADD_BYTES = 2_000, 4 * 1024 * 1024
"""Counted in memory at most, before they are added to the table."""
MAX_SESSIONS = 10_000
FORGET_AFTER_S = 600.0
FORGOTTEN_AT_ONCE = 10_000

log = logging.getLogger(__name__)


@dataclass
class _Count:
    """`known`: the hour's traffic as the table had it at `added_at`; `events`, `bytes`: counted since. `is_added`: they
    are being added to the table now, which nobody else must do with the same."""

    known: Traffic
    added_at: float
    is_added: bool = False
    events: int = 0
    bytes: int = 0


class PostgresSessionTraffic:
    """The SessionTraffic port. The hours are those of the database's clock. While the database is away, this process
    goes on with what it knows: quotas must not end what the log can take."""

    def __init__(
        self, pool: Pool, *, tenant: str = DEFAULT_TENANT, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pool, self._tenant, self._clock = pool, tenant, clock
        self._counts: OrderedDict[str, _Count] = OrderedDict()
        self._forgot_at = float("-inf")

    async def add(self, session_id: str, added: Traffic) -> Traffic:
        count = self._counts.setdefault(session_id, _Count(Traffic(events=0, bytes=0), float("-inf")))
        self._counts.move_to_end(session_id)
        while len(self._counts) > MAX_SESSIONS:
            self._counts.popitem(last=False)
        count.events += added.events
        count.bytes += added.bytes
        due = self._clock() - count.added_at >= ADD_AFTER_S
        if not count.is_added and (due or count.events >= ADD_EVENTS or count.bytes >= ADD_BYTES):
            count.is_added = True
            try:
                await self._add_to_table(session_id, count)
            finally:
                count.is_added = False
        return Traffic(events=count.known.events + count.events, bytes=count.known.bytes + count.bytes)

    async def _add_to_table(self, session_id: str, count: _Count) -> None:
        counted = Traffic(events=count.events, bytes=count.bytes)
        count.added_at = self._clock()
        arguments = {"tenant": self._tenant, "session_id": session_id, "events": counted.events, "bytes": counted.bytes}
        try:
            async with self._pool.connection() as connection:
                found = await (await connection.execute(sql.query("count_session_traffic"), arguments)).fetchone()
                if self._clock() - self._forgot_at >= FORGET_AFTER_S:
                    self._forgot_at = self._clock()
                    await connection.execute(sql.query("forget_session_traffic"), {"limit": FORGOTTEN_AT_ONCE})
        except (psycopg.Error, TimeoutError) as error:
            log.warning("the traffic of session %s could not be counted: %s", session_id, error)
            return
        assert found is not None
        count.known = Traffic(events=found[0], bytes=found[1])
        count.events -= counted.events
        count.bytes -= counted.bytes

"""Keeps the index of the log: one process at a time, a page of the log and the checkpoint in one transaction."""

import asyncio
import logging
from typing import Any

import msgspec
import psycopg
from psycopg import AsyncConnection

import sql
from application.turns import Share, Turn
from domain.record import Metadata
from infrastructure.postgres.connections import connect
from infrastructure.postgres.continuity import LogContinuity
from infrastructure.postgres.event_store.errors import LogDiscontinued
from infrastructure.postgres.event_store.reading import decode_metadata
from infrastructure.postgres.listener import PositionSignal
from projections.search_terms import VERSION, terms_of_payload

LOCK = 5067271820452199
PAGE_EVENTS = 1000
PAGE_BYTES = 1024 * 1024
POLL_S = 1.0
GATHER_S = 0.05
SESSION = {"synchronous_commit": "off", "idle_session_timeout": "10s", "idle_in_transaction_session_timeout": "10s"}
log = logging.getLogger(__name__)


class EventIndexer:
    """`run` works until it is cancelled, or raises LogDiscontinued. `end_of_log` follows the log, `continuity` is that
    of the process's log."""

    def __init__(self, dsn: str, end_of_log: PositionSignal, continuity: LogContinuity | None = None) -> None:
        self._dsn, self._end_of_log, self._continuity, self._share = dsn, end_of_log, continuity, Share()

    async def run(self) -> None:
        while True:
            try:
                async with await connect(self._dsn, self._continuity, **SESSION) as connection:
                    await self._lead(connection)
            except LogDiscontinued:
                raise
            except (psycopg.Error, TimeoutError) as error:
                log.warning("the index of the log lost its connection, connecting again: %s", error)
            except Exception:
                log.exception("the index of the log stopped at an error; trying again")
            await asyncio.sleep(POLL_S)

    async def _lead(self, connection: AsyncConnection[Any]) -> None:
        # Another process holds the lock; nothing notifies of its death.
        while not await _one(connection, "SELECT pg_try_advisory_lock(%s)", LOCK):  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)
        await self._renewed(connection)
        position: int = await _one(connection, sql.query("search/checkpoint"))
        while True:
            last = await self._end_of_log.wait_for(position, POLL_S)
            if position >= last:
                await connection.execute("SELECT 1")
                continue
            await asyncio.sleep(GATHER_S)
            while (reached := await self._advance(connection, position)) > position:
                position = reached

    async def _renewed(self, connection: AsyncConnection[Any]) -> None:
        async with connection.transaction():
            anew = await connection.execute(sql.query("search/begin_anew"), {"version": VERSION})
            if await anew.fetchone() is not None:
                await connection.execute("TRUNCATE event_index")

    async def _advance(self, connection: AsyncConnection[Any], after: int) -> int:
        """Index the next page and return its last position, or `after` at the log's end. Raises OperationalError when
        another process has moved the checkpoint."""
        arguments = {"after": after, "limit": PAGE_EVENTS, "max_bytes": PAGE_BYTES}
        cursor = connection.cursor(binary=True)
        await cursor.execute(sql.query("search/page"), arguments)
        events = await cursor.fetchall()
        if not events:
            return after
        rows = []
        turn = Turn(share=self._share)
        for event in events:
            rows.append(_row(*event))
            if turn.over:
                await turn.next()
        reached = int(events[-1][0])
        async with connection.transaction():
            async with connection.cursor().copy(sql.query("search/copy")) as copy:
                for row in rows:
                    await copy.write_row(row)
            moved = await connection.execute(sql.query("search/advance"), {"before": after, "after": reached})
            if await moved.fetchone() is None:
                raise psycopg.OperationalError("another process has moved the index on")
        return reached


def _row(position: int, tenant: str, metadata: str, payload: bytes) -> tuple[Any, ...]:
    try:
        known = decode_metadata(metadata)
    except msgspec.MsgspecError:
        known = Metadata(actor="", correlation_id="")
    words = terms_of_payload(payload)
    quoted = "'" + "' '".join(words) + "'" if words else ""
    return position, tenant, known.actor, known.correlation_id, known.causation_id, quoted


async def _one(connection: AsyncConnection[Any], statement: str, *arguments: Any) -> Any:
    row = await (await connection.execute(statement, arguments)).fetchone()
    return row[0] if row else None

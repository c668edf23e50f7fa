"""Follows the log for metrics and traces: one process at a time, with a checkpoint, so that what a process that was
killed has not passed on is passed on by the next one, under the same ids."""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import psycopg
from psycopg import AsyncConnection

import sql
from application.observation.instruments import TELEMETRY_DROPPED
from application.observation.observed import NOTHING, Observed
from application.observation.observer import LogObserver
from application.observation.span import Span
from application.pace import Pace
from application.ports.telemetry import Measurements, SpanExport
from application.turns import Share, Turn
from domain.event import WrittenByNewerVersion
from domain.identifiers import DEFAULT_TENANT
from domain.record import RecordedEvent
from infrastructure.postgres.connections import connect
from infrastructure.postgres.continuity import LogContinuity
from infrastructure.postgres.event_store.errors import LogDiscontinued
from infrastructure.postgres.event_store.reading import recorded_event, stored_row_factory
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from infrastructure.postgres.listener import PositionSignal

LOCK = 5067271820452205
PAGE_EVENTS = 500
MOST_EARLIER = 5000
"""Events of a stream that are read again, where it was not followed from its beginning."""
POLL_S = 1.0
LATE_S = 30.0
GATHER_S = 0.25
"""Rounds begin no closer together than this: what they find is not urgent."""
PART_SPANS = 64
"""Spans that are passed on before the connection, which holds the lock, is used again: the server ends one that idles,
and then the page would be observed anew, time and again, while the collector is slow."""
SESSION = {"synchronous_commit": "off", "idle_session_timeout": "60s", "idle_in_transaction_session_timeout": "10s"}
log = logging.getLogger(__name__)


class LogObservation:
    """`run` works until it is cancelled, or raises LogDiscontinued. `continuity`: of the process's log."""

    def __init__(
        self,
        *,
        dsn: str,
        store: GroupCommitEventStore,
        end_of_log: PositionSignal,
        measurements: Measurements,
        spans: SpanExport,
        traces: bool,
        pace: Pace,
        continuity: LogContinuity | None = None,
    ) -> None:
        self._dsn, self._store, self._end_of_log, self._continuity = dsn, store, end_of_log, continuity
        self._measurements, self._spans, self._traces = measurements, spans, traces
        self._share, self._pace = Share(), pace

    async def run(self) -> None:
        while True:
            try:
                async with await connect(self._dsn, self._continuity, **SESSION) as connection:
                    await self._lead(connection)
            except LogDiscontinued:
                raise
            except (psycopg.Error, TimeoutError) as error:
                log.warning("the observer of the log lost its connection, connecting again: %s", error)
            except Exception:
                log.exception("the observer of the log stopped at an error; trying again")
            await asyncio.sleep(POLL_S)

    async def _lead(self, connection: AsyncConnection[Any]) -> None:
        # Another process holds the lock; nothing notifies of its death.
        while not await _one(connection, "SELECT pg_try_advisory_lock(%s)", (LOCK,)):  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)
        position: int = await _one(connection, sql.query("observation/begin"))
        observer = LogObserver(traces=self._traces)
        types = sorted(observer.wanted)
        while True:
            last = await self._end_of_log.wait_for(position, POLL_S)
            if position >= last:
                await connection.execute("SELECT 1")
                continue
            await asyncio.sleep(GATHER_S)
            while position < last:
                position = await self._advance(connection, observer, types, position, last)

    async def _advance(
        self, connection: AsyncConnection[Any], observer: LogObserver, types: Sequence[str], after: int, last: int
    ) -> int:
        """Observe the next page; the position that it has reached. `last`: of the log, as known before."""
        rows, more = await self._store.read_all_page(after=after, limit=PAGE_EVENTS, types=types)
        spans: list[Span] = []
        turn, began, spent_s = Turn(share=self._share), time.thread_time(), 0.0
        for row in rows:
            try:
                event = recorded_event(row, DEFAULT_TENANT)
            except (WrittenByNewerVersion, msgspec.MsgspecError) as error:
                self._measurements.add(TELEMETRY_DROPPED, "log", "unreadable")
                log.warning("event %d is not observed: %s", row.position, error)
                continue
            found = await self._observed(connection, observer, event, types)
            spans += found.spans
            for each in found.measurements:
                self._measurements.add(each.instrument, *each.labels, value=each.value, trace_id=each.trace_id)
            if turn.over:
                spent_s += time.thread_time() - began
                await turn.next()
                began = time.thread_time()
        spent_s += time.thread_time() - began
        self._pace.late = bool(rows) and time.time() - rows[-1].recorded_at.timestamp() > LATE_S
        await self._pace.rest(spent_s)
        for at in range(0, len(spans), PART_SPANS):
            if at:
                await connection.execute("SELECT 1")
            await self._spans.export(spans[at : at + PART_SPANS])
        reached = rows[-1].position if rows and more else max(last, rows[-1].position if rows else 0)
        await connection.execute(sql.query("observation/advance"), {"position": reached})
        return reached

    async def _observed(
        self, connection: AsyncConnection[Any], observer: LogObserver, event: RecordedEvent, types: Sequence[str]
    ) -> Observed:
        try:
            if not observer.knows(event):
                for earlier in await self._earlier(connection, event, types):
                    observer.see(earlier)
            return observer.see(event)
        except (psycopg.Error, TimeoutError):
            raise
        except Exception:
            # What an observer does not understand must not keep it from the rest of the log.
            log.exception("event %d is not observed", event.position)
            self._measurements.add(TELEMETRY_DROPPED, "log", "unreadable")
            return NOTHING

    async def _earlier(
        self, connection: AsyncConnection[Any], event: RecordedEvent, types: Sequence[str]
    ) -> list[RecordedEvent]:
        """What the observer must see of the stream before the event, in order."""
        cursor = connection.cursor(binary=True, row_factory=stored_row_factory)
        await cursor.execute(
            sql.query("observation/earlier"),
            {
                "tenant": DEFAULT_TENANT,
                "stream": event.stream,
                "before": event.seq,
                "types": list(types),
                "limit": MOST_EARLIER,
            },
        )
        found = []
        for row in reversed(await cursor.fetchall()):
            try:
                found.append(recorded_event(row, DEFAULT_TENANT))
            except (WrittenByNewerVersion, msgspec.MsgspecError):
                continue
        return found


async def _one(connection: AsyncConnection[Any], statement: str, arguments: tuple[Any, ...] = ()) -> Any:
    row = await (await connection.execute(statement, arguments)).fetchone()
    return row[0] if row else None

"""Reads of the log for streams, on a few connections of their own: a thousand clients that resume at once don't take
the connections of commands."""

from collections.abc import Sequence
from typing import Any

import msgspec
import psycopg
from psycopg.rows import tuple_row
from psycopg.types.string import ByteaBinaryLoader
from psycopg_pool import PoolTimeout

import sql
from application.ports.event_streams import EventFilter
from domain.event import decode
from domain.identifiers import run_stream
from infrastructure.postgres.connections import Pool, open_untried_pool
from infrastructure.postgres.event_store.reading import StoredRow, stored_row_factory
from infrastructure.streams.client_stream import LogBatch, LogUnavailable
from infrastructure.streams.feed_query import SCANNED_POSITIONS, feed_query
from infrastructure.streams.run_frames import (
    FINISHED,
    FOLLOWED_BY_STATUS,
    RunFrames,
    RunIdentity,
    identity_of,
    plain_types,
    versions_to_decode,
)

MAX_ROWS = 2000
MAX_PLAIN_PAYLOAD = 4096
_SECOND_TRY_S = 2.0
_UNREACHABLE = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, TimeoutError, OSError)


class _ConnectionLost(LogUnavailable):
    """The connection broke during a read."""


def _message(error: Exception) -> str:
    return f"the log can't be read: {error}"


class RunHead(msgspec.Struct, frozen=True, kw_only=True):
    """A run as its stream begins and ends now. `over`: no further event will follow."""

    identity: RunIdentity
    last_seq: int
    over: bool


class PlainFrames(msgspec.Struct, frozen=True, gc=False):
    """`body`: `events` frames, without the first `id: ` and the last empty line."""

    body: bytes
    events: int


class LogReader:
    """`open` it first. Every other method raises LogUnavailable when the database can't be reached."""

    def __init__(self, dsn: str, *, tenant: str, connections: int) -> None:
        self._dsn, self._tenant, self._connections = dsn, tenant, connections
        self._pool: Pool | None = None

    async def open(self) -> None:
        self._pool = await open_untried_pool(self._dsn, size=self._connections)

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()

    async def run_head(self, run_id: str) -> RunHead | None:
        """None for an unknown run. Raises WrittenByNewerVersion if this code can't decode its first event."""
        rows = await self._fetch("read_run_head", stream=run_stream(run_id), finished=FINISHED)
        if not rows:
            return None
        last_seq, finished, wire_name, version, payload = rows[0]
        identity = identity_of(run_id, decode(wire_name, version, payload))
        return RunHead(identity=identity, last_seq=last_seq, over=finished or identity.blocked)

    async def closing_frames(self, head: RunHead) -> bytes:
        """The derived frames after the last event of a run that is over, from its run.status on."""
        frames, run_id = RunFrames(head.identity), head.identity.run_id
        rows = await self.run_rows(run_id, head.last_seq - 1, 1)
        if head.identity.blocked and rows[0].type != FINISHED:
            rows = await self.run_rows(run_id, 0, 1)
        last = rows[0]
        status = frames.status(last.type, last.schema_version, last.payload, last.occurred_at)
        return status + frames.caught_up + frames.closed

    async def run_frames(self, frames: RunFrames, run_id: str, after_seq: int, max_bytes: int) -> tuple[LogBatch, bool]:
        """A batch of frames built by the database, and whether the next event must be decoded in Python."""
        row = (
            await self._fetch(
                "read_run_frames",
                stream=run_stream(run_id),
                after=after_seq,
                envelope=frames.envelope,
                max_rows=MAX_ROWS,
                max_bytes=max_bytes,
                last_types=list(FOLLOWED_BY_STATUS),
                aged=list(versions_to_decode(frames.reformed)),
            )
        )[0]
        body, last_seq, more, needs_upcast, last_type, last_version, last_occurred_at, last_payload = row
        if last_type is not None:
            body += frames.status(last_type, last_version, last_payload, last_occurred_at)
        ended = last_type == FINISHED
        return LogBatch(body or b"", last_seq or after_seq, bool(more) and not ended, ended), needs_upcast

    async def plain_run_frames(self, frames: RunFrames, run_id: str, after_seq: int, up_to_seq: int) -> PlainFrames:
        """The frames of the plain events of a range of seqs, see sql/queries/read_plain_run_frames.sql."""
        arguments = {
            "stream": run_stream(run_id),
            "after": after_seq,
            "up_to": up_to_seq,
            "envelope": frames.envelope,
            "delta": frames.delta_head,
            "plain": plain_types(frames.reformed),
            "max_payload": MAX_PLAIN_PAYLOAD,
        }
        try:
            rows = await self._execute(sql.query("read_plain_run_frames"), arguments, text_loader=ByteaBinaryLoader)
        except psycopg.DataError:  # a payload is not UTF-8, for example because it was erased
            return PlainFrames(b"", 0)
        return PlainFrames(rows[0][0] or b"", rows[0][1])

    async def run_rows(self, run_id: str, after_seq: int, max_bytes: int) -> list[StoredRow]:
        return await self._rows(
            sql.query("read_stream_tail"),
            stream=run_stream(run_id),
            after=after_seq,
            max_rows=MAX_ROWS,
            max_bytes=max_bytes,
        )

    async def feed_rows(
        self, wanted: EventFilter, after: int, max_rows: int, max_bytes: int
    ) -> tuple[list[StoredRow], int]:
        """Matching rows after a position, and the position up to which the log was searched: the last row's if
        `max_rows` or `max_bytes` ended the search, else at most SCANNED_POSITIONS further, never past the log's end."""
        end = await self.last_position()
        up_to = min(end, after + SCANNED_POSITIONS)
        if up_to <= after:
            return [], after
        statement, arguments = feed_query(wanted)
        rows = await self._rows(
            statement, after=after, up_to=up_to, max_rows=max_rows, max_bytes=max_bytes, **arguments
        )
        cut = len(rows) == max_rows or sum(len(row.payload) for row in rows) >= max_bytes
        return rows, rows[-1].position if cut else up_to

    async def last_position(self) -> int:
        return int((await self._fetch("last_position"))[0][0])

    async def last_seq(self, stream: str) -> int:
        return int((await self._fetch("last_seq", stream=stream))[0][0])

    async def _fetch(self, query: str, **arguments: Any) -> Sequence[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = await self._execute(sql.query(query), arguments)
        return rows

    async def _rows(self, statement: str, **arguments: Any) -> list[StoredRow]:
        rows: list[StoredRow] = await self._execute(statement, arguments, row_factory=stored_row_factory)
        return rows

    async def _execute(
        self, statement: str, arguments: dict[str, Any], *, row_factory: Any = tuple_row, text_loader: Any = None
    ) -> Any:
        pool = self._pool
        assert pool is not None, "open it first"

        async def read(timeout_s: float | None = None) -> Any:
            async with pool.connection(timeout_s) as connection:
                cursor = connection.cursor(binary=True, row_factory=row_factory)
                if text_loader is not None:
                    cursor.adapters.register_loader("text", text_loader)
                try:
                    await cursor.execute(statement, {"tenant": self._tenant, **arguments}, prepare=True)
                    return await cursor.fetchall()
                except _UNREACHABLE as error:
                    raise (_ConnectionLost if connection.broken else LogUnavailable)(_message(error)) from error

        try:
            try:
                return await read()
            except _ConnectionLost:
                # It may have broken while idle, like the others, and the database be back: check all and try again.
                await pool.check()
                return await read(_SECOND_TRY_S)
        except _UNREACHABLE as error:
            raise LogUnavailable(_message(error)) from error

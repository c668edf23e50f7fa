"""Aggregate snapshots in Postgres, written in the background.

A snapshot is used only when the same code wrote it (checked by the fingerprint), its bytes are those that were written
(the digest), and the log has the event after which it was taken (its chain hash, which covers the stream up to there).
"""

import asyncio
import hashlib
import logging
import secrets
from collections import OrderedDict
from contextvars import Context
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Generic, Self, TypeVar

import msgspec
import psycopg

import sql
from application.ports.snapshots import Snapshot
from application.repairs.kinds import SNAPSHOT
from application.repairs.said import UNCOUNTED, Found, Repairs
from application.task_cancellation import cancel_and_wait
from domain.identifiers import DEFAULT_TENANT
from infrastructure.postgres.connections import Pool, open_pool
from infrastructure.postgres.continuity import LogContinuity

State = TypeVar("State")

MAX_WAITING = 1000
READ_SECONDS = 2.0
DRAIN_SECONDS = 5.0
POOL_SIZE = 2

_log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode


@cache
def code_fingerprint(package: str = "domain") -> bytes:
    """sha256 over all source files of a package. Any change of the code that folds events changes
    it, so that no version has to be raised by hand."""
    sources = sorted(_sources(files(package), ""))
    if not sources:  # installed without sources: a process uses only its own snapshots
        return secrets.token_bytes(32)
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for each in sources for part in each)).digest()


def _sources(folder: Traversable, path: str) -> list[tuple[bytes, bytes]]:
    found = []
    for entry in folder.iterdir():
        name = f"{path}/{entry.name}"
        if entry.is_dir():
            found += _sources(entry, name)
        elif name.endswith(".py"):
            found.append((name.encode(), entry.read_bytes()))
    return found


async def open_snapshot_pool(dsn: str, continuity: LogContinuity | None = None) -> Pool:
    """Connections for snapshots alone: their commits don't wait for the disk that the log's appends wait for."""
    return await open_pool(dsn, continuity, size=POOL_SIZE, synchronous_commit="off")


class PostgresAggregateSnapshots(Generic[State]):
    """The SnapshotStore port. Use it as an async context manager, on one event loop: leaving it writes what is waiting.

    At most `max_waiting` streams wait to be written; beyond that the one that has waited longest is dropped.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        state_type: type[State],
        fingerprint: bytes | None = None,
        tenant: str = DEFAULT_TENANT,
        max_waiting: int = MAX_WAITING,
        repairs: Repairs = UNCOUNTED,
    ) -> None:
        self._repairs = repairs
        self._pool, self._tenant, self._max_waiting = pool, tenant, max_waiting
        self._fingerprint = fingerprint or code_fingerprint()
        self._decoder: msgspec.json.Decoder[State] = msgspec.json.Decoder(state_type)
        self._waiting: OrderedDict[str, Snapshot[State]] = OrderedDict()
        self._writer: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Write what is waiting, for 5 seconds at most."""
        if self._writer is not None:
            await asyncio.wait([self._writer], timeout=DRAIN_SECONDS)
            await cancel_and_wait([self._writer])

    async def newest(self, stream: str) -> Snapshot[State] | None:
        arguments = {"tenant": self._tenant, "stream": stream, "fingerprint": self._fingerprint}
        try:
            async with asyncio.timeout(READ_SECONDS):
                row = await self._row("newest_aggregate_snapshot", arguments)
        except (psycopg.Error, TimeoutError) as error:
            _log.warning("snapshot of %s could not be read: %s", stream, error)
            return None
        if row is None:
            return None
        seq, position, digest, state, of_this_log = row
        if not of_this_log:
            self._ignored(stream, f"the log does not have event {seq} as it saw it")
            return None
        if digest != self._digest(stream, seq, position, state):
            self._ignored(stream, "its bytes are not those that were written")
            return None
        try:
            return Snapshot(state=self._decoder.decode(state), seq=seq, position=position)
        except msgspec.MsgspecError as error:
            self._ignored(stream, str(error))
            return None

    def _ignored(self, stream: str, reason: str) -> None:
        kind, _, name = stream.partition(":")
        ids = {"run_id": name} if kind == "run" else {"session_id": name} if kind == "session" else {}
        self._repairs.made(SNAPSHOT, Found(about={"stream": stream, "reason": reason}, **ids))

    def keep(self, stream: str, snapshot: Snapshot[State]) -> None:
        waiting = self._waiting.pop(stream, None)
        self._waiting[stream] = snapshot if waiting is None or waiting.seq <= snapshot.seq else waiting
        if len(self._waiting) > self._max_waiting:
            forgotten, _ = self._waiting.popitem(last=False)
            _log.warning("snapshot of %s forgotten: too many wait to be written", forgotten)
        if self._writer is None or self._writer.done():
            # Not in the first caller's context: the log lines of this task are about other streams, too.
            self._writer = asyncio.create_task(self._write_waiting(), context=Context())

    async def _write_waiting(self) -> None:
        while self._waiting:
            stream, snapshot = self._waiting.popitem(last=False)
            try:
                await self._write(stream, snapshot)
            except Exception as error:  # noqa: BLE001 - a cache that can't be written is no reason to stop anything
                _log.warning("snapshot of %s could not be written: %s", stream, error)

    async def _write(self, stream: str, snapshot: Snapshot[State]) -> None:
        state = _encode(snapshot.state)
        arguments = {
            "tenant": self._tenant,
            "stream": stream,
            "seq": snapshot.seq,
            "position": snapshot.position,
            "fingerprint": self._fingerprint,
            "digest": self._digest(stream, snapshot.seq, snapshot.position, state),
            "state": state,
        }
        async with self._pool.connection() as connection:
            await connection.execute(sql.query("write_aggregate_snapshot"), arguments, prepare=True)

    async def _row(self, query: str, arguments: dict[str, Any]) -> Any:
        async with self._pool.connection() as connection, connection.cursor(binary=True) as cursor:
            await cursor.execute(sql.query(query), arguments, prepare=True)
            return await cursor.fetchone()

    def _digest(self, stream: str, seq: int, position: int, state: bytes) -> bytes:
        place = position.to_bytes(8, "big") + seq.to_bytes(8, "big") + stream.encode()
        return hashlib.sha256(self._fingerprint + place + state).digest()

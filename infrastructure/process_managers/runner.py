"""Runs the process managers over the log: exactly once per event, by one process at a time.

What an event makes wanted is recorded in the transaction that moves the checkpoint past it. The lock that makes one
process the active one is held by that process's connection: when it dies, another takes over within a poll interval.
A leader that is merely stopped (SIGSTOP, a frozen machine) is silent on its connection, and loses it after 10 seconds.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from application.reactions import Reaction
from domain.record import RecordedEvent
from infrastructure.eventstore.store import GroupCommitEventStore
from infrastructure.postgres.listener import PositionSignal
from infrastructure.postgres.sessions import connect
from infrastructure.process_managers.recording import record

log = logging.getLogger(__name__)
NAME = "process_managers"
LOCK = 5067271820452103
BATCH = 500
POLL_S = 1.0
GATHER_S = 0.004
"""Rounds begin no closer together than this: under load, one of them takes what several commits have written."""
# No flush of its own: what a crash of the server takes back is wanted again, under the same ids.
SESSION = {"synchronous_commit": "off", "idle_session_timeout": "10s", "idle_in_transaction_session_timeout": "10s"}


class ProcessManagerRunner:
    """`run` works until it is cancelled."""

    def __init__(
        self,
        *,
        dsn: str,
        store: GroupCommitEventStore,
        position: PositionSignal,
        react: Callable[[RecordedEvent], Sequence[Reaction]],
        types: Sequence[str],
    ) -> None:
        self._dsn, self._store, self._position = dsn, store, position
        self._react, self._types = react, types

    async def run(self) -> None:
        while True:
            try:
                async with await connect(self._dsn, **SESSION) as connection:
                    await self._lead(connection)
            except (psycopg.Error, TimeoutError) as error:
                log.warning("the process managers lost their connection, connecting again: %s", error)
            except Exception:
                log.exception("the process managers stopped at an error; trying again")
            await asyncio.sleep(POLL_S)

    async def _lead(self, connection: psycopg.AsyncConnection[Any]) -> None:
        # Another process holds the lock; its death sends no event.
        while not await _one(connection, "SELECT pg_try_advisory_lock(%s)", LOCK):  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)
        await connection.execute(
            "INSERT INTO process_manager_checkpoint VALUES (%s, 0) ON CONFLICT DO NOTHING", (NAME,)
        )
        checkpoint: int = await _one(
            connection, "SELECT position FROM process_manager_checkpoint WHERE name = %s", NAME
        )
        loop = asyncio.get_running_loop()
        while True:
            last = await self._position.wait_for(checkpoint, POLL_S)
            if checkpoint >= last:
                await connection.execute("SELECT 1")
            while checkpoint < last:
                began = loop.time()
                checkpoint = await self._advance(connection, checkpoint, last)
                await asyncio.sleep(began + GATHER_S - loop.time())

    async def _advance(self, connection: psycopg.AsyncConnection[Any], checkpoint: int, last: int) -> int:
        events = await self._store.read_all(after=checkpoint, limit=BATCH, types=self._types)
        reached = events[-1].position if len(events) == BATCH else max(last, events[-1].position if events else 0)
        wanted: list[tuple[RecordedEvent, Reaction]] = []
        for event in events:
            wanted += [(event, reaction) for reaction in self._react(event)]
        async with connection.pipeline(), connection.transaction():
            await record(connection, wanted)
            await connection.execute(
                "UPDATE process_manager_checkpoint SET position = %s WHERE name = %s", (reached, NAME)
            )
        return reached


async def _one(connection: psycopg.AsyncConnection[Any], statement: str, argument: object) -> Any:
    row = await (await connection.execute(statement, (argument,))).fetchone()
    return row[0] if row else None

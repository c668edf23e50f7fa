"""Runs the process managers over the log: exactly once per event, by one process at a time.

What an event makes wanted is recorded in the transaction that moves the checkpoint past it. The lock that makes one
process the active one is held by that process's connection: when it dies, another takes over within a poll interval.
A leader that is merely stopped (SIGSTOP, a frozen machine) is silent on its connection, and loses it after 10 seconds.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import psycopg
from psycopg.types.json import Jsonb

import sql
from application.reactions import (
    DequeueRun,
    DropDeadEffect,
    EnqueueFinish,
    EnqueueRun,
    MoveWorkerPlace,
    PostponeRun,
    Reaction,
    RetryDeadEffect,
    WantedEffect,
)
from domain.record import RecordedEvent
from infrastructure.effects.ledger import EFFECTS_CHANNEL
from infrastructure.eventstore.store import GroupCommitEventStore
from infrastructure.postgres.listener import PositionSignal
from infrastructure.postgres.sessions import connect
from infrastructure.run_queue.queue import RUN_QUEUE_CHANNEL

log = logging.getLogger(__name__)
NAME = "process_managers"
LOCK = 5067271820452103
BATCH = 500
POLL_S = 1.0
# No flush of its own: what a crash of the server takes back is wanted again, under the same ids.
SESSION = {"synchronous_commit": "off", "idle_session_timeout": "10s", "idle_in_transaction_session_timeout": "10s"}
OUTSIDE_RUN_ATTEMPTS = 5
PLACE_QUERIES = {"wanted": "want_worker_place", "up": "worker_is_up", "free": "leave_worker_place"}


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
        while True:
            last = await self._position.wait_for(checkpoint, POLL_S)
            if checkpoint >= last:
                await connection.execute("SELECT 1")
            while checkpoint < last:
                checkpoint = await self._advance(connection, checkpoint, last)

    async def _advance(self, connection: psycopg.AsyncConnection[Any], checkpoint: int, last: int) -> int:
        events = await self._store.read_all(after=checkpoint, limit=BATCH, types=self._types)
        reached = events[-1].position if len(events) == BATCH else max(last, events[-1].position if events else 0)
        wanted: list[tuple[RecordedEvent, Reaction]] = []
        for event in events:
            wanted += [(event, reaction) for reaction in self._react(event)]
        async with connection.transaction():
            await _record(connection, wanted)
            await connection.execute(
                "UPDATE process_manager_checkpoint SET position = %s WHERE name = %s", (reached, NAME)
            )
        return reached


async def _record(connection: psycopg.AsyncConnection[Any], wanted: Sequence[tuple[RecordedEvent, Reaction]]) -> None:
    effects = [(event, reaction) for event, reaction in wanted if isinstance(reaction, WantedEffect)]
    if effects:
        await connection.execute(
            sql.query("want_effects"),
            {
                "effect_ids": [effect.effect_id for _, effect in effects],
                "kinds": [effect.kind for _, effect in effects],
                "lanes": [effect.lane for _, effect in effects],
                "params": [Jsonb(effect.params) for _, effect in effects],
                "positions": [event.position for event, _ in effects],
                "metadata": [Jsonb(_metadata(event)) for event, _ in effects],
            },
        )
    places = [(event, reaction) for event, reaction in wanted if isinstance(reaction, MoveWorkerPlace)]
    for event, place in places:
        arguments = {"lane": place.lane, "position": event.position}
        await connection.execute(sql.query(PLACE_QUERIES[place.to]), arguments)
    if effects or places:
        await connection.execute("SELECT pg_notify(%s, '')", (EFFECTS_CHANNEL,))
    moves = [
        (event, reaction) for event, reaction in wanted if not isinstance(reaction, WantedEffect | MoveWorkerPlace)
    ]
    for event, reaction in moves:
        await _move_queue(connection, event, reaction)
    if moves:
        await connection.execute("SELECT pg_notify(%s, '')", (RUN_QUEUE_CHANNEL,))


async def _move_queue(connection: psycopg.AsyncConnection[Any], event: RecordedEvent, reaction: Reaction) -> None:
    match reaction:
        case EnqueueRun():
            arguments = msgspec.structs.asdict(reaction)
            await connection.execute(sql.query("enqueue_run"), {**arguments, "position": event.position})
        case EnqueueFinish(run_id=run_id):
            # An outside run holds back nobody: it stands in a line of its own.
            arguments = {"run_id": run_id, "session_id": f"outside {run_id}", "max_attempts": OUTSIDE_RUN_ATTEMPTS}
            await connection.execute(sql.query("enqueue_run"), {**arguments, "position": event.position})
        case PostponeRun(run_id=run_id, available_at=available_at):
            await connection.execute(sql.query("postpone_run"), {"run_id": run_id, "available_at": available_at})
        case DequeueRun(run_id=run_id):
            await connection.execute(sql.query("dequeue_run"), {"run_id": run_id})
        case RetryDeadEffect(effect_id=effect_id):
            await connection.execute(sql.query("retry_dead_effect"), {"effect_id": effect_id})
            await connection.execute("SELECT pg_notify(%s, '')", (EFFECTS_CHANNEL,))
        case DropDeadEffect(effect_id=effect_id):
            await connection.execute(sql.query("drop_dead_effect"), {"effect_id": effect_id})


def _metadata(event: RecordedEvent) -> dict[str, str]:
    """What the events that record the effect's outcome will carry: they were caused by this one."""
    return {
        "actor": event.metadata.actor,
        "correlationId": event.metadata.correlation_id,
        "causationId": event.event_id,
        "traceId": event.metadata.trace_id,
    }


async def _one(connection: psycopg.AsyncConnection[Any], statement: str, argument: object) -> Any:
    row = await (await connection.execute(statement, (argument,))).fetchone()
    return row[0] if row else None

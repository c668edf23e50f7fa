"""Records what events made wanted, in the transaction that moves the process managers' checkpoint.

Reactions are grouped by kind. That keeps every order that matters: a run is queued before it is postponed, and
postponed before it ends; the places of a session move in the order of its events.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import psycopg
from psycopg.types.json import Jsonb

import sql
from application.reactions import (
    DequeueRun,
    DropDeadEffect,
    EffectNotNeeded,
    EnqueueFinish,
    EnqueueRun,
    LookAtQueue,
    MoveWorkerPlace,
    PostponeRun,
    Reaction,
    RetryDeadEffect,
    WantedEffect,
)
from domain.record import RecordedEvent
from infrastructure.effects.ledger import EFFECTS_CHANNEL
from infrastructure.run_queue.queue import RUN_QUEUE_CHANNEL

OUTSIDE_RUN_ATTEMPTS = 5
PLACE_QUERIES = {"wanted": "want_worker_place", "up": "worker_is_up", "free": "leave_worker_place"}
Connection = psycopg.AsyncConnection[Any]
Wanted = Sequence[tuple[RecordedEvent, Reaction]]
Kind = TypeVar("Kind")


async def record(connection: Connection, wanted: Wanted) -> None:
    """Write it all, and tell those who work on it. The caller's transaction makes it one."""
    await _record_effects(connection, wanted)
    await _move_queue(connection, wanted)


async def _record_effects(connection: Connection, wanted: Wanted) -> None:
    passed = _of(wanted, EffectNotNeeded)
    effects, places = _still_wanted(_of(wanted, WantedEffect), passed), _of(wanted, MoveWorkerPlace)
    retried, dropped = _of(wanted, RetryDeadEffect), _of(wanted, DropDeadEffect)
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
                "delays": [effect.delay for _, effect in effects],
            },
        )
    if passed:
        await connection.execute(
            sql.query("effects_not_needed"),
            {
                "kinds": [effect.kind for _, effect in passed],
                "lanes": [effect.lane for _, effect in passed],
                "sync_ids": [effect.sync_id for _, effect in passed],
                "positions": [event.position for event, _ in passed],
            },
        )
    for event, place in places:
        arguments = {"lane": place.lane, "position": event.position}
        await connection.execute(sql.query(PLACE_QUERIES[place.to]), arguments)
    for _, retry in retried:
        await connection.execute(sql.query("retry_dead_effect"), {"effect_id": retry.effect_id})
    for _, drop in dropped:
        await connection.execute(sql.query("drop_dead_effect"), {"effect_id": drop.effect_id})
    if effects or places or retried:
        await connection.execute("SELECT pg_notify(%s, '')", (EFFECTS_CHANNEL,))


async def _move_queue(connection: Connection, wanted: Wanted) -> None:
    queued = [(event, run.run_id, run.session_id, run.max_attempts) for event, run in _of(wanted, EnqueueRun)]
    # An outside run holds back nobody: it stands in a line of its own.
    queued += [
        (event, run.run_id, f"outside {run.run_id}", OUTSIDE_RUN_ATTEMPTS) for event, run in _of(wanted, EnqueueFinish)
    ]
    postponed, ended = _of(wanted, PostponeRun), _of(wanted, DequeueRun)
    if queued:
        await connection.execute(
            sql.query("enqueue_runs"),
            {
                "run_ids": [run_id for _, run_id, _, _ in queued],
                "session_ids": [session_id for _, _, session_id, _ in queued],
                "positions": [event.position for event, _, _, _ in queued],
                "max_attempts": [attempts for _, _, _, attempts in queued],
            },
        )
    for _, run in postponed:
        arguments = {"run_id": run.run_id, "available_at": run.available_at}
        await connection.execute(sql.query("postpone_run"), arguments)
    if ended:
        await connection.execute(sql.query("dequeue_runs"), {"run_ids": [run.run_id for _, run in ended]})
    if queued or postponed or ended or _of(wanted, LookAtQueue):
        await connection.execute("SELECT pg_notify(%s, '')", (RUN_QUEUE_CHANNEL,))


def _still_wanted(
    effects: list[tuple[RecordedEvent, WantedEffect]], passed: list[tuple[RecordedEvent, EffectNotNeeded]]
) -> list[tuple[RecordedEvent, WantedEffect]]:
    """Without those that somebody else was to do and, as the very same page of the log tells, has done: they would be
    obsolete before anybody could see them."""
    done: dict[tuple[str, str, str], int] = {}
    for event, effect in passed:
        key = effect.kind, effect.lane, effect.sync_id
        done[key] = max(done.get(key, 0), event.position)

    def is_done(event: RecordedEvent, effect: WantedEffect) -> bool:
        sync_ids = {"", effect.params.get("syncId", "")}
        return bool(effect.delay) and any(
            done.get((effect.kind, effect.lane, sync_id), 0) > event.position for sync_id in sync_ids
        )

    return [(event, effect) for event, effect in effects if not is_done(event, effect)]


def _of(wanted: Wanted, kind: type[Kind]) -> list[tuple[RecordedEvent, Kind]]:
    return [(event, reaction) for event, reaction in wanted if isinstance(reaction, kind)]


def _metadata(event: RecordedEvent) -> dict[str, str]:
    """What the events that record the effect's outcome will carry: they were caused by this one."""
    return {
        "actor": event.metadata.actor,
        "correlationId": event.metadata.correlation_id,
        "causationId": event.event_id,
        "traceId": event.metadata.trace_id,
    }

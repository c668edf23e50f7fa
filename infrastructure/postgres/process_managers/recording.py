"""Records the outcomes of events, commands excepted, in the transaction that moves the process managers' checkpoint.

They are grouped by kind. That keeps every order that matters: a run is queued before it is parked, parked before it is
postponed, and postponed before it ends; a wake-up counts if it comes after the parking; the slot of a session moves in
the order of its events.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import psycopg
from psycopg.types.json import Jsonb

import sql
from application.ports.run_queue import EXTERNAL_RUN_ATTEMPTS, external_run_key
from application.process_managers.outcomes import (
    DequeueRun,
    DropDeadEffect,
    EffectNotNeeded,
    EnqueueFinish,
    EnqueueRun,
    MoveWorkerSlot,
    Outcome,
    ParkRun,
    PostponeRun,
    RetryDeadEffect,
    WakeRun,
    WakeRunsOf,
    WakeRunWorkers,
    WantedEffect,
)
from domain.record import RecordedEvent
from domain.run.queue_share import QueueShare
from infrastructure.postgres.effect_ledger.ledger import EFFECTS_CHANNEL
from infrastructure.postgres.parked_runs import PARKED_RUNS_CHANNEL
from infrastructure.postgres.run_queue import RUN_QUEUE_CHANNEL

SLOT_QUERIES = {"wanted": "want_worker_slot", "up": "worker_is_up", "free": "free_worker_slot"}
Connection = psycopg.AsyncConnection[Any]
Outcomes = Sequence[tuple[RecordedEvent, Outcome]]
Kind = TypeVar("Kind")


async def record(connection: Connection, outcomes: Outcomes) -> None:
    """Write all of it, and notify effect and run workers, in the caller's transaction."""
    await _record_effects(connection, outcomes)
    await _move_queue(connection, outcomes)


async def _record_effects(connection: Connection, outcomes: Outcomes) -> None:
    reached = _of(outcomes, EffectNotNeeded)
    effects, slots = _still_wanted(_of(outcomes, WantedEffect), reached), _of(outcomes, MoveWorkerSlot)
    retried, dropped = _of(outcomes, RetryDeadEffect), _of(outcomes, DropDeadEffect)
    if effects:
        await connection.execute(
            sql.query("want_effects"),
            {
                "effect_ids": [effect.effect_id for _, effect in effects],
                "kinds": [effect.kind for _, effect in effects],
                "keys": [effect.key for _, effect in effects],
                "params": [Jsonb(effect.params) for _, effect in effects],
                "positions": [event.position for event, _ in effects],
                "metadata": [Jsonb(_metadata(event)) for event, _ in effects],
                "delays": [effect.delay for _, effect in effects],
            },
        )
    if reached:
        await connection.execute(
            sql.query("effects_not_needed"),
            {
                "kinds": [effect.kind for _, effect in reached],
                "keys": [effect.key for _, effect in reached],
                "sync_ids": [effect.sync_id for _, effect in reached],
                "positions": [event.position for event, _ in reached],
            },
        )
    for event, slot in slots:
        arguments = {"key": slot.key, "position": event.position}
        await connection.execute(sql.query(SLOT_QUERIES[slot.to]), arguments)
    for _, retry in retried:
        await connection.execute(sql.query("retry_dead_effect"), {"effect_id": retry.effect_id})
    for _, drop in dropped:
        await connection.execute(sql.query("drop_dead_effect"), {"effect_id": drop.effect_id})
    if effects or slots or retried:
        await connection.execute("SELECT pg_notify(%s, '')", (EFFECTS_CHANNEL,))


async def _move_queue(connection: Connection, outcomes: Outcomes) -> None:
    queued = _of(outcomes, EnqueueRun)
    queued += [
        (
            event,
            EnqueueRun(
                run_id=run.run_id,
                session_id=external_run_key(run.run_id),
                max_attempts=EXTERNAL_RUN_ATTEMPTS,
                share=QueueShare(),
            ),
        )
        for event, run in _of(outcomes, EnqueueFinish)
    ]
    postponed, ended = _of(outcomes, PostponeRun), _of(outcomes, DequeueRun)
    if queued:
        shares = [run.share for _, run in queued]
        await connection.execute(
            sql.query("enqueue_runs"),
            {
                "run_ids": [run.run_id for _, run in queued],
                "session_ids": [run.session_id for _, run in queued],
                "positions": [event.position for event, _ in queued],
                "max_attempts": [run.max_attempts for _, run in queued],
                "priorities": [share.rank for share in shares],
                "shares": [share.key for share in shares],
                "app_ids": [share.app_id for share in shares],
                "users": [share.user_login_name for share in shares],
            },
        )
    moved = await _park_and_wake(connection, _of(outcomes, ParkRun), _of(outcomes, WakeRun))
    for _, run in postponed:
        arguments = {"run_id": run.run_id, "available_at": run.available_at}
        await connection.execute(sql.query("postpone_run"), arguments)
    sessions = {run.session_id for _, run in _of(outcomes, WakeRunsOf)}
    if ended or sessions:
        settled = {"run_ids": [run.run_id for _, run in ended], "session_ids": list(sessions)}
        await connection.execute(sql.query("settle_runs"), settled)
    resumed = _of(outcomes, WakeRunWorkers)
    if moved or postponed or resumed:
        await connection.execute("SELECT pg_notify(%s, '')", (RUN_QUEUE_CHANNEL,))


async def _park_and_wake(
    connection: Connection, parked: list[tuple[RecordedEvent, ParkRun]], woken: list[tuple[RecordedEvent, WakeRun]]
) -> bool:
    """Whether there was anything to do. Of a run that is parked in this page, the last parking counts."""
    woken_at = {run.run_id: event.position for event, run in woken}
    ends_at = {run.run_id: event.position for event, run in woken if run.ends}
    if woken_at:
        ends = [run_id in ends_at for run_id in woken_at]
        await connection.execute(sql.query("wake_runs"), {"run_ids": list(woken_at), "ends": ends})
    last = {run.run_id: (event.position, run) for event, run in parked}
    if last:
        await connection.execute(
            sql.query("park_runs"),
            {
                "run_ids": list(last),
                "generations": [run.lease_generation for _, run in last.values()],
                "waits_for": [run.waits_for for _, run in last.values()],
                "until": [run.until for _, run in last.values()],
                "woken": [woken_at.get(run.run_id, 0) > position for position, run in last.values()],
                "ends": [ends_at.get(run.run_id, 0) > position for position, run in last.values()],
            },
        )
    if last or ends_at:
        await connection.execute("SELECT pg_notify(%s, '')", (PARKED_RUNS_CHANNEL,))
    return bool(last or woken_at)


def _still_wanted(
    effects: list[tuple[RecordedEvent, WantedEffect]], reached: list[tuple[RecordedEvent, EffectNotNeeded]]
) -> list[tuple[RecordedEvent, WantedEffect]]:
    """If one page holds both the request of a delayed effect and its fulfilment, no ledger row is written."""
    done: dict[tuple[str, str, str], int] = {}
    for event, effect in reached:
        goal = effect.kind, effect.key, effect.sync_id
        done[goal] = max(done.get(goal, 0), event.position)

    def is_done(event: RecordedEvent, effect: WantedEffect) -> bool:
        sync_ids = {"", effect.params.get("syncId", "")}
        return bool(effect.delay) and any(
            done.get((effect.kind, effect.key, sync_id), 0) > event.position for sync_id in sync_ids
        )

    return [(event, effect) for event, effect in effects if not is_done(event, effect)]


def _of(outcomes: Outcomes, kind: type[Kind]) -> list[tuple[RecordedEvent, Kind]]:
    return [(event, outcome) for event, outcome in outcomes if isinstance(outcome, kind)]


def _metadata(event: RecordedEvent) -> dict[str, str]:
    """What the events that record the effect's outcome will carry: they were caused by this one."""
    return {
        "actor": event.metadata.actor,
        "correlationId": event.metadata.correlation_id,
        "causationId": event.event_id,
        "traceId": event.metadata.trace_id,
    }

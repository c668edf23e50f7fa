"""The commands of process managers, as their runner sends them: before the checkpoint moves, and once."""

import asyncio
from typing import Any

from msgspec.structs import replace

from application.aggregates.reconcile_log import ReconcileLog, TakeoverLog
from application.effects.former_kinds import SendCommand
from application.effects.worker import EffectWorker
from application.operations.consumer_control import ProcessManagerControl
from application.ports.effect_ledger import ClaimedEffect
from application.ports.process_manager_records import ProcessManagerStatus
from application.task_cancellation import cancel_and_wait
from domain.event import Event
from domain.run.events import MessageStopped, RunFinished, RunQueued
from domain.session.events import SessionRunAttached
from infrastructure.postgres.connections import open_pool
from infrastructure.postgres.effect_ledger.ledger import EFFECTS_CHANNEL, PostgresEffectLedger
from infrastructure.postgres.event_store.errors import EventStoreUnavailable
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from infrastructure.postgres.listener import PostgresListener
from tests.support.async_run import run
from tests.support.process_managers import (
    CONTEXT,
    SPEC,
    clock,
    commands,
    new,
    rows,
    running,
    standing,
    until,
)
from tests.support.sessions import RUNNING

SYNCS = "SELECT params ->> 'syncId' FROM effects WHERE kind = 'workspace.sync'"


async def running_session(store: GroupCommitEventStore, *more: Event) -> int:
    """Session s1, whose worker runs, and run r1 in it; the last seq of the session."""
    events = [new(event, f"s{number}") for number, event in enumerate((*RUNNING, *more))]
    await store.append("run:r1", 0, [new(RunQueued(spec=SPEC), "q")])
    return (await store.append("session:s1", 0, events)).last_seq


def test_commands_are_handled_before_the_checkpoint_moves_and_once_by_whoever_comes_after(database: str) -> None:
    """The process that sent them died before its checkpoint moved: the next one reads the same events again."""
    reset = "UPDATE process_manager_checkpoint SET position = 0 RETURNING 1"
    attached = SessionRunAttached(generation=1, attached_run_id="r1")
    position = "SELECT position FROM process_manager_checkpoint WHERE name = 'run_life'"

    async def scenario() -> list[tuple[str, str]]:
        async with running(database, runners=1) as store:
            seq = await running_session(store, attached)
            await store.append("run:r1", 1, [new(MessageStopped(), "m")])
            finished = await store.append("run:r1", 2, [new(RunFinished(outcome="failed", exported=False), "f")])
            await until(database, "SELECT run_id, state FROM run_queue", [("r1", "done")])
            after = await store.read_stream("session:s1", after_seq=seq)
            last = await store.last_position()
        await rows(database, reset)
        async with running(database, runners=1) as store:
            await until(database, position, [(last,)])
            assert await store.last_position() == last
        assert finished.position < last
        return [(event.event.wire_name, event.metadata.causation_id) for event in after]

    assert run(scenario()) == [("session.sync_requested", "run:r1/2"), ("session.run_detached", "run:r1/3")]


def test_message_stop_takes_one_append_and_one_row_to_the_ledger(database: str) -> None:
    async def scenario() -> tuple[list[str], list[tuple[Any, ...]]]:
        async with running(database, runners=1) as store:
            await running_session(store)
            stopped = (await store.append("run:r1", 1, [new(MessageStopped(), "m")])).position
            await until(database, SYNCS, [("run:r1/2",)])
            appended = [event.event.wire_name for event in await store.read_all(after=stopped)]
            return appended, await rows(database, f"SELECT kind FROM effects WHERE caused_by >= {stopped}")

    assert run(scenario()) == (["session.sync_requested"], [("workspace.sync",)])


def test_an_outage_is_survived_and_stops_nobody(database: str) -> None:
    async def scenario() -> tuple[list[str], list[Any]]:
        away: list[Exception] = [EventStoreUnavailable("away"), EventStoreUnavailable("still away")]
        async with running(database, runners=1, errors=away) as store:
            seq = await running_session(store)
            await store.append("run:r1", 1, [new(MessageStopped(), "m")])
            await until(database, SYNCS, [("run:r1/2",)])
            requested = [event.event.wire_name for event in await store.read_stream("session:s1", after_seq=seq)]
            return requested, [*away, *await store.read_stream("process_manager:run_life")]

    assert run(scenario()) == (["session.sync_requested"], [])


def test_a_command_that_fails_in_an_unexpected_way_stops_its_process_manager_at_that_event(database: str) -> None:
    async def scenario() -> tuple[ProcessManagerStatus, int, list[Any]]:
        async with running(database, runners=1, errors=[ZeroDivisionError("not today")]) as store:
            control = ProcessManagerControl(store=store, clock=clock)
            await running_session(store)
            message = await store.append("run:r1", 1, [new(MessageStopped(), "m")])
            await store.append("run:r2", 0, [new(RunQueued(spec=SPEC), "q")])
            stopped = await standing(database, "run_life", "stopped")
            queued = await rows(database, "SELECT run_id FROM run_queue")
            await control.retry("run_life", "mended", replace(CONTEXT, command_id="retry"))
            await until(database, "SELECT run_id FROM run_queue ORDER BY run_id", [("r1",), ("r2",)])
            await until(database, SYNCS, [("run:r1/2",)])
            return stopped, message.position, queued

    stopped, position, queued = run(scenario())

    assert (stopped.position, stopped.error_position, stopped.error_type) == (position - 1, position, "message.stop")
    assert stopped.error == "ZeroDivisionError: not today"
    assert queued == [("r1",)]


FORMER_ROWS = """
INSERT INTO effects (effect_id, kind, lane, params, caused_by, metadata, state, attempts, available_at) VALUES
    ('session.request_sync/run:r1/2', 'session.request_sync', 'run:r1', '{"runId": "r1", "syncId": "run:r1/2"}', 9,
     '{"actor": "ada", "correlationId": "c", "causationId": "m", "traceId": "t"}', 'ready', 0, clock_timestamp()),
    ('session.detach_run/run:r1/3', 'session.detach_run', 'run:r1', '{"runId": "r1"}', 10,
     '{"actor": "ada", "correlationId": "c", "causationId": "f", "traceId": "t"}', 'ready', 3, clock_timestamp())
RETURNING 1
"""
"""As the version that had these kinds among its effects wrote them, the second one after three failed tries."""


def test_open_rows_of_an_earlier_version_are_carried_out(database: str) -> None:
    states = "SELECT kind, state FROM effects ORDER BY caused_by"
    done = [("session.request_sync", "done"), ("session.detach_run", "done")]

    async def scenario() -> list[tuple[str, str, str]]:
        async with GroupCommitEventStore(database) as store, PostgresListener(database) as listener:
            attached = SessionRunAttached(generation=1, attached_run_id="r1")
            seq = await running_session(store, attached)
            await store.append("run:r1", 1, [new(MessageStopped(), "m")])
            await store.append("run:r1", 2, [new(RunFinished(outcome="failed", exported=False), "f")])
            await rows(database, FORMER_ROWS)
            pool = await open_pool(database)
            with listener.subscribe(EFFECTS_CHANNEL) as signal:
                sending = SendCommand(commands(store))
                worker = EffectWorker(
                    ledger=PostgresEffectLedger(pool, signal, max_workers=1, max_starting=1),
                    handlers={"session.request_sync": sending, "session.detach_run": sending},
                    given_up=nobody_gives_up,
                    takeover_log=TakeoverLog(ReconcileLog(store=store, clock=clock)),
                    owner="w",
                    slots={"short": 1},
                )
                working = asyncio.create_task(worker.run())
                try:
                    await until(database, states, done)
                finally:
                    await cancel_and_wait([working])
                    await pool.close()
            after = await store.read_stream("session:s1", after_seq=seq)
            return [(event.event.wire_name, event.event_id, event.metadata.actor) for event in after]

    assert run(scenario()) == [
        ("session.sync_requested", "session.request_sync/run:r1/2:requested", "ada"),
        ("session.run_detached", "session.detach_run/run:r1/3:detached", "ada"),
    ]


async def nobody_gives_up(effect: ClaimedEffect, error: str) -> None:
    raise AssertionError(f"{effect.effect_id}: {error}")

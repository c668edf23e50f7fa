"""The runner of the process managers: each event's reactions are recorded once, by one process at a time."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from application.command_context import CommandContext
from application.ports import ExpectedSeqConflict
from application.process_manager_control import ProcessManagerControls, ProcessManagerStatus
from application.process_managers.table import PROCESS_MANAGERS, react, wire_names
from application.reactions import Reaction
from domain.event import encode
from domain.record import Metadata, NewEvent, RecordedEvent
from domain.run.events import RunFinished, RunQueued, RunRetryScheduled
from domain.run.values import Message, RunError, RunSpec
from domain.session.events import SessionRunDetached, SessionSynced, SyncRequested
from domain.workspace.sync import SyncRef
from infrastructure.eventstore.store import GroupCommitEventStore
from infrastructure.postgres.listener import PostgresListener
from infrastructure.postgres.migrations import migrate
from infrastructure.postgres.sessions import open_pool
from infrastructure.process_managers.records import PostgresProcessManagerRecords
from infrastructure.process_managers.runner import LOCK, ProcessManagerRunner
from infrastructure.process_managers.unit import React
from infrastructure.readmodels import progress
from infrastructure.readmodels.progress import PostgresProjectionProgress
from infrastructure.run_queue.queue import RUN_QUEUE_CHANNEL
from projections.ports import WORK
from tests.support.async_run import run
from tests.support.log_events import OCCURRED_AT
from tests.support.raw_append import append_raw

SPEC = RunSpec(
    session_id="s1", user_login_name="ada", provider="scripted", messages=(Message(role="user", content="x"),)
)


def new(event: Any, event_id: str) -> NewEvent:
    metadata = Metadata(actor="ada", correlation_id="c", trace_id="t")
    return NewEvent(event_id=event_id, event=event, occurred_at=OCCURRED_AT, metadata=metadata)


@asynccontextmanager
async def running(dsn: str, runners: int, react_: React = react) -> AsyncIterator[GroupCommitEventStore]:
    async with GroupCommitEventStore(dsn) as store, PostgresListener(dsn) as listener:
        tasks = []
        for _ in range(runners):
            runner = ProcessManagerRunner(
                dsn=dsn,
                store=store,
                position=listener.position,
                react=react_,
                managers={name: wire_names(name) for name in PROCESS_MANAGERS},
                controls=ProcessManagerControls(store=store, clock=lambda: OCCURRED_AT),
            )
            tasks.append(asyncio.create_task(runner.run()))
        try:
            yield store
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def rows(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        return await (await connection.execute(statement)).fetchall()


async def until(dsn: str, statement: str, expected: list[tuple[Any, ...]]) -> None:
    """Look again at every change of the queue, until the rows are there."""
    async with PostgresListener(dsn) as listener, asyncio.timeout(20):
        with listener.subscribe(RUN_QUEUE_CHANNEL) as signal:
            while await rows(dsn, statement) != expected:
                await signal.wait(1)


def test_reactions_are_recorded_with_what_caused_them(database: str) -> None:
    async def scenario() -> list[tuple[Any, ...]]:
        await migrate(database)
        async with running(database, runners=1) as store:
            await store.append("run:r1", 0, [new(RunQueued(spec=SPEC), "q")])
            await store.append("run:r1", 1, [new(RunFinished(outcome="canceled", exported=False), "f")])
            await until(database, "SELECT run_id, state FROM run_queue", [("r1", "done")])
        return await rows(database, "SELECT effect_id, kind, lane, caused_by, metadata FROM effects")

    assert run(scenario()) == [
        (
            "session.detach_run/run:r1/2",
            "session.detach_run",
            "run:r1",
            2,
            {"actor": "ada", "correlationId": "c", "causationId": "f", "traceId": "t"},
        )
    ]


def test_an_effect_is_spared_by_what_happens_after_its_wish_alone(database: str) -> None:
    """Detached after its first attempt, a run wants the same again after its second."""
    again = RunRetryScheduled(attempt=1, error=RunError(error_class="network", message="m"), available_at=OCCURRED_AT)
    detached = SessionRunDetached(generation=1, detached_run_id="r1")
    effects = "SELECT caused_by, state, attempts, available_at > created_at FROM effects ORDER BY caused_by"

    async def scenario() -> list[tuple[Any, ...]]:
        await migrate(database)
        async with running(database, runners=1) as store:
            await store.append("run:r1", 0, [new(RunQueued(spec=SPEC), "q"), new(again, "a")])
            await until(database, effects, [(2, "ready", 0, True)])
            await store.append("session:s1", 0, [new(detached, "d")])
            await until(database, effects, [(2, "obsolete", 0, True)])
            await store.append("run:r1", 2, [new(RunFinished(outcome="canceled", exported=False), "f")])
            await until(database, "SELECT run_id, state FROM run_queue", [("r1", "done")])
        return await rows(database, effects)

    assert run(scenario()) == [(2, "obsolete", 0, True), (4, "ready", 0, True)]


def test_an_effect_that_was_spared_before_the_wish_was_read_leaves_no_row(database: str) -> None:
    requested = SyncRequested(generation=1, sync_id="r1/1/final", reason="run.finished", for_run_id="r1")
    other = SyncRequested(generation=1, sync_id="r2/1/final", reason="run.finished", for_run_id="r2")
    synced = SessionSynced(
        generation=1, sync_id="r1/1/final", reason="run.finished", sync=SyncRef(manifest_key="k", manifest_hash="h")
    )
    detached = SessionRunDetached(generation=1, detached_run_id="r1")

    async def scenario() -> list[tuple[Any, ...]]:
        await migrate(database)
        async with GroupCommitEventStore(database) as store:
            await store.append("run:r1", 0, [new(RunQueued(spec=SPEC), "q")])
            await store.append("session:s1", 0, [new(requested, "q"), new(other, "o"), new(synced, "s")])
            await store.append("run:r1", 1, [new(RunFinished(outcome="succeeded", exported=True), "f")])
            await store.append("session:s1", 3, [new(detached, "d")])
        async with running(database, runners=1):
            await until(database, "SELECT run_id, state FROM run_queue", [("r1", "done")])
        return await rows(database, "SELECT kind, params ->> 'syncId', state FROM effects")

    assert run(scenario()) == [("workspace.sync", "r2/1/final", "ready")]


def test_several_runners_record_every_reaction_once(database: str) -> None:
    async def scenario() -> list[tuple[Any, ...]]:
        await migrate(database)
        async with running(database, runners=3) as store:
            await asyncio.gather(*[store.append(f"run:r{n}", 0, [new(RunQueued(spec=SPEC), "q")]) for n in range(50)])
            await until(database, "SELECT count(*) FROM run_queue", [(50,)])
        await until(database, "SELECT DISTINCT position FROM process_manager_checkpoint", [(50,)])
        return await rows(database, "SELECT name FROM process_manager_checkpoint ORDER BY name")

    assert run(scenario()) == [("run_life",), ("session_life",), ("work_control",)]


def test_another_takes_over_when_the_active_runner_loses_its_connection(database: str) -> None:
    async def scenario() -> None:
        await migrate(database)
        async with running(database, runners=2) as store:
            await store.append("run:r1", 0, [new(RunQueued(spec=SPEC), "q")])
            await until(database, "SELECT count(*) FROM run_queue", [(1,)])
            await rows(
                database,
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted "
                f"AND ((classid::bigint << 32) | objid::bigint) = {LOCK}",
            )
            await store.append("run:r2", 0, [new(RunQueued(spec=SPEC), "q")])
            await until(database, "SELECT count(*) FROM run_queue", [(2,)])

    run(scenario())


def test_a_lost_race_for_a_stream_leaves_nothing_behind(database: str) -> None:
    async def scenario() -> int:
        await migrate(database)
        async with GroupCommitEventStore(database) as store:
            await store.append("run:r1", 0, [new(RunQueued(spec=SPEC), "q")])
            try:
                await store.append("run:r1", 0, [new(RunFinished(outcome="canceled", exported=False), "f")])
            except ExpectedSeqConflict:
                return await store.last_seq("run:r1")
        return -1

    assert run(scenario()) == 1


CONTEXT = CommandContext(actor="ada", command_id="x", correlation_id="x")


def refusing_ends(event: RecordedEvent) -> Sequence[Reaction]:
    if isinstance(event.event, RunFinished):
        raise ZeroDivisionError("not today")
    return react(event)


async def standing(dsn: str, name: str, status: str) -> ProcessManagerStatus:
    """The process manager, once it has this status."""
    pool = await open_pool(dsn)
    try:
        records = PostgresProcessManagerRecords(pool)
        async with PostgresListener(dsn) as listener, asyncio.timeout(20):
            with listener.subscribe(RUN_QUEUE_CHANNEL) as signal:
                while True:
                    for found in await records.status():
                        if (found.name, found.status) == (name, status):
                            return found
                    await signal.wait(0.1)
    finally:
        await pool.close()


def test_an_event_that_one_process_manager_can_not_take_stops_that_one_alone(database: str) -> None:
    async def scenario() -> tuple[ProcessManagerStatus, list[Any], list[Any], list[str]]:
        await migrate(database)
        async with running(database, 1, refusing_ends) as store:
            controls = ProcessManagerControls(store=store, clock=lambda: OCCURRED_AT)
            await store.append("run:r1", 0, [new(RunQueued(spec=SPEC), "q")])
            await store.append("run:r1", 1, [new(RunFinished(outcome="canceled", exported=False), "f")])
            await store.append("run:r2", 0, [new(RunQueued(spec=SPEC), "q")])
            stopped = await standing(database, "run_life", "stopped")
            await store.append("session:s1", 0, [new(SyncRequested(generation=1, sync_id="y", reason="manual"), "s")])
            await until(database, "SELECT kind FROM effects", [("workspace.sync",)])
            while_stopped = await rows(database, "SELECT run_id, state FROM run_queue ORDER BY run_id")
            await controls.retry("run_life", "again", replace(CONTEXT, command_id="retry"))
            await store.append("run:r3", 0, [new(RunQueued(spec=SPEC), "q")])
            while len(await store.read_stream("process_manager:run_life")) < 3:  # stopped, retried, stopped again
                await asyncio.sleep(0.05)
            again = await standing(database, "run_life", "stopped")
            await controls.skip("run_life", again.error_position or 0, "", replace(CONTEXT, command_id="skip"))
            expected = [("r1", "ready"), ("r2", "ready"), ("r3", "ready")]
            await until(database, "SELECT run_id, state FROM run_queue ORDER BY run_id", expected)
            await standing(database, "run_life", "running")
            audit = [event.event.wire_name for event in await store.read_stream("process_manager:run_life")]
            return stopped, while_stopped, expected, audit

    stopped, while_stopped, _, audit = run(scenario())

    assert (stopped.position, stopped.error_position, stopped.error_type) == (1, 2, "run.finished")
    assert stopped.error == "ZeroDivisionError: not today"
    assert while_stopped == [("r1", "ready")]
    verbs = ["stopped", "retried", "stopped", "skipped"]
    assert audit == [f"process_manager.{verb}" for verb in verbs]


def test_an_event_of_newer_code_makes_one_process_manager_wait_and_is_taken_by_that_code(database: str) -> None:
    async def scenario() -> tuple[ProcessManagerStatus, list[Any]]:
        await migrate(database)
        async with running(database, 1) as store:
            await append_raw(store, "run:r1", 0, [("run.queued", 99, encode(RunQueued(spec=SPEC)), OCCURRED_AT)])
            waiting = await standing(database, "run_life", "waiting")
            await rows(database, "UPDATE events SET schema_version = 1 RETURNING 1")  # as the newer code reads it
            await until(database, "SELECT run_id FROM run_queue", [("r1",)])
            await standing(database, "run_life", "running")
            return waiting, await store.read_stream("process_manager:run_life")

    waiting, audit = run(scenario())

    assert (waiting.error_position, waiting.error_type) == (1, "run.queued")
    assert audit == []  # nothing is wrong, and nobody has to decide anything


def test_who_waits_for_the_work_is_woken_by_it(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "POLL_SECONDS", 1000)

    async def scenario() -> None:
        await migrate(database)
        async with (
            running(database, runners=1) as store,
            await open_pool(database, size=1) as pool,
            PostgresListener(database) as listener,
            PostgresProjectionProgress(pool, listener) as progress_,
        ):
            waiting = asyncio.create_task(progress_.wait_for(WORK, 1, timeout=30))
            await store.append("run:r1", 0, [new(RunQueued(spec=SPEC), "q")])
            assert await waiting

    run(scenario())

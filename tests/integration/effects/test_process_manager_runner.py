"""The runner of the process managers: the outcomes of each event are recorded once, by one process at a time, after the
commands that it led to were handled."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from application.operations.consumer_control import ProcessManagerControl
from application.ports.event_store import ExpectedSeqConflict
from application.ports.process_manager_records import ProcessManagerStatus
from application.process_managers.outcomes import Outcome
from application.process_managers.table import outcomes_of
from domain.event import WrittenByNewerVersion, encode
from domain.record import RecordedEvent
from domain.run.events import RunFinished, RunQueued
from domain.session.events import SessionRunDetached, SessionSynced, SyncRequested
from domain.workspace.sync import SyncRef
from infrastructure.postgres.connections import open_pool
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from infrastructure.postgres.listener import PostgresListener
from infrastructure.postgres.process_managers.runner import LOCK
from infrastructure.postgres.read_models import progress
from infrastructure.postgres.read_models.progress import PostgresProjectionProgress
from projections.ports import WORK
from tests.support.async_run import run
from tests.support.process_managers import (
    CONTEXT,
    SPEC,
    clock,
    new,
    rows,
    running,
    standing,
    until,
)
from tests.support.raw_append import append_raw
from tests.support.recorded import OCCURRED_AT


def test_outcomes_are_recorded_with_what_caused_them(database: str) -> None:
    manual = SyncRequested(generation=1, sync_id="y", reason="manual")

    async def scenario() -> list[tuple[Any, ...]]:
        async with running(database, runners=1) as store:
            await store.append("run:r1", 0, [new(RunQueued(spec=SPEC), "q")])
            await store.append("session:s1", 0, [new(manual, "f")])
            await until(database, "SELECT run_id, state FROM run_queue", [("r1", "ready")])
            await until(database, "SELECT count(*) FROM effects", [(1,)])
        return await rows(database, "SELECT effect_id, kind, lane, caused_by, metadata FROM effects")

    assert run(scenario()) == [
        (
            "workspace.sync/session:s1/1",
            "workspace.sync",
            "session:s1",
            2,
            {"actor": "ada", "correlationId": "c", "causationId": "f", "traceId": "t"},
        )
    ]


def test_an_effect_is_canceled_by_what_happens_after_its_request_alone(database: str) -> None:
    final = SyncRequested(generation=1, sync_id="y", reason="run.finished", for_run_id="r1")
    synced = SessionSynced(
        generation=1, sync_id="y", reason="run.finished", sync=SyncRef(manifest_key="k", manifest_hash="h")
    )
    effects = "SELECT caused_by, state, attempts, available_at > created_at FROM effects ORDER BY caused_by"

    async def scenario() -> list[tuple[Any, ...]]:
        async with running(database, runners=1) as store:
            await store.append("session:s1", 0, [new(final, "a")])
            await until(database, effects, [(1, "ready", 0, True)])
            await store.append("session:s1", 1, [new(synced, "d")])
            await until(database, effects, [(1, "obsolete", 0, True)])
            await store.append("session:s1", 2, [new(final, "b")])
            await until(database, "SELECT count(*) FROM effects", [(2,)])
        return await rows(database, effects)

    assert run(scenario()) == [(1, "obsolete", 0, True), (3, "ready", 0, True)]


def test_an_effect_whose_goal_the_same_page_shows_reached_leaves_no_row(database: str) -> None:
    requested = SyncRequested(generation=1, sync_id="r1/1/final", reason="run.finished", for_run_id="r1")
    other = SyncRequested(generation=1, sync_id="r2/1/final", reason="run.finished", for_run_id="r2")
    synced = SessionSynced(
        generation=1, sync_id="r1/1/final", reason="run.finished", sync=SyncRef(manifest_key="k", manifest_hash="h")
    )
    detached = SessionRunDetached(generation=1, detached_run_id="r1")

    async def scenario() -> list[tuple[Any, ...]]:
        async with GroupCommitEventStore(database) as store:
            await store.append("run:r1", 0, [new(RunQueued(spec=SPEC), "q")])
            await store.append("session:s1", 0, [new(requested, "q"), new(other, "o"), new(synced, "s")])
            await store.append("run:r1", 1, [new(RunFinished(outcome="succeeded", exported=True), "f")])
            await store.append("session:s1", 3, [new(detached, "d")])
        async with running(database, runners=1):
            await until(database, "SELECT run_id, state FROM run_queue", [("r1", "done")])
        return await rows(database, "SELECT kind, params ->> 'syncId', state FROM effects")

    assert run(scenario()) == [("workspace.sync", "r2/1/final", "ready")]


def test_several_runners_record_every_outcome_once(database: str) -> None:
    async def scenario() -> list[tuple[Any, ...]]:
        async with running(database, runners=3) as store:
            await asyncio.gather(*[store.append(f"run:r{n}", 0, [new(RunQueued(spec=SPEC), "q")]) for n in range(50)])
            await until(database, "SELECT count(*) FROM run_queue", [(50,)])
        await until(database, "SELECT DISTINCT position FROM process_manager_checkpoint", [(50,)])
        return await rows(database, "SELECT name FROM process_manager_checkpoint ORDER BY name")

    assert run(scenario()) == [("run_life",), ("session_life",), ("work_control",)]


def test_another_takes_over_when_the_active_runner_loses_its_connection(database: str) -> None:
    async def scenario() -> None:
        async with running(database, runners=2) as store:
            await store.append("run:r1", 0, [new(RunQueued(spec=SPEC), "q")])
            await until(database, "SELECT count(*) FROM run_queue", [(1,)])
            await rows(
                database,
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted "
                "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
                f"AND ((classid::bigint << 32) | objid::bigint) = {LOCK}",
            )
            await store.append("run:r2", 0, [new(RunQueued(spec=SPEC), "q")])
            await until(database, "SELECT count(*) FROM run_queue", [(2,)])

    run(scenario())


def test_a_lost_race_for_a_stream_leaves_nothing_behind(database: str) -> None:
    async def scenario() -> int:
        async with GroupCommitEventStore(database) as store:
            await store.append("run:r1", 0, [new(RunQueued(spec=SPEC), "q")])
            try:
                await store.append("run:r1", 0, [new(RunFinished(outcome="canceled", exported=False), "f")])
            except ExpectedSeqConflict:
                return await store.last_seq("run:r1")
        return -1

    assert run(scenario()) == 1


def refusing_ends(event: RecordedEvent) -> Sequence[Outcome]:
    if isinstance(event.event, RunFinished):
        raise ZeroDivisionError("not today")
    return outcomes_of(event)


def test_an_event_that_one_process_manager_can_not_take_stops_that_one_alone(database: str) -> None:
    async def scenario() -> tuple[ProcessManagerStatus, list[Any], list[Any], list[str]]:
        async with running(database, 1, refusing_ends) as store:
            controls = ProcessManagerControl(store=store, clock=clock)
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


@pytest.mark.proof
def test_an_event_of_newer_code_makes_one_process_manager_wait_and_is_taken_by_that_code(database: str) -> None:
    async def scenario() -> tuple[ProcessManagerStatus, list[Any]]:
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


def reading_no_runs(event: RecordedEvent) -> Sequence[Outcome]:
    """As a process of the version before, to which `run.queued` is an event of newer code."""
    if isinstance(event.event, RunQueued):
        raise WrittenByNewerVersion("run.queued is newer")
    return outcomes_of(event)


@pytest.mark.proof
def test_a_process_gives_up_the_one_that_needs_newer_code_and_keeps_the_others(database: str) -> None:
    leaders = (
        "SELECT count(DISTINCT pid) FROM pg_locks WHERE locktype = 'advisory' AND granted "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
        f"AND ((classid::bigint << 32) | objid::bigint) = {LOCK}"
    )
    manual = SyncRequested(generation=1, sync_id="y", reason="manual")

    async def scenario() -> list[Any]:
        async with running(database, 1, reading_no_runs) as store:
            await store.append("run:r1", 0, [new(RunQueued(spec=SPEC), "q")])
            await standing(database, "run_life", "waiting")
            assert await rows(database, leaders) == [(1,)]
            async with running(database, 1):
                await until(database, "SELECT run_id FROM run_queue", [("r1",)])
                await standing(database, "run_life", "running")
                assert await rows(database, leaders) == [(2,)]
                await store.append("session:s1", 0, [new(manual, "s")])
                await until(database, "SELECT kind FROM effects", [("workspace.sync",)])
            return await store.read_stream("process_manager:run_life")

    assert run(scenario()) == []


def test_who_waits_for_the_work_is_woken_by_it(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "POLL_SECONDS", 1000)

    async def scenario() -> None:
        async with (
            running(database, runners=1) as store,
            await open_pool(database, size=1) as pool,
            PostgresListener(database) as listener,
            PostgresProjectionProgress(pool, listener) as progress_,
        ):
            waiting = asyncio.create_task(progress_.wait_for(WORK, 1, timeout=90))
            await store.append("run:r1", 0, [new(RunQueued(spec=SPEC), "q")])
            assert await waiting

    run(scenario())

"""A session that doesn't answer delays nobody, and loses nothing: its commands wait in a table, in their order."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from application.operations.consumer_control import ProcessManagerControl
from domain.run.events import MessageStopped, RunQueued
from domain.session.events import SyncRequested
from infrastructure.postgres.connections import open_pool
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from infrastructure.postgres.process_managers import pending
from infrastructure.postgres.process_managers.records import PostgresProcessManagerRecords
from tests.support.async_run import run
from tests.support.process_managers import CONTEXT, SPEC, clock, new, rows, running, standing, until
from tests.support.sessions import RUNNING

PENDING = "SELECT command_id, session_id, position FROM pending_commands ORDER BY position"
SYNCS = "SELECT count(*) FROM effects WHERE kind = 'workspace.sync'"
NO_ROWS: list[tuple[Any, ...]] = []


async def running_run(store: GroupCommitEventStore, number: int) -> None:
    """Session s{number}, whose worker runs, and run r{number} in it."""
    spec = replace(SPEC, session_id=f"s{number}")
    await store.append(f"run:r{number}", 0, [new(RunQueued(spec=spec), "q")])
    await store.append(f"session:s{number}", 0, [new(event, f"s{index}") for index, event in enumerate(RUNNING)])


async def message_stops(store: GroupCommitEventStore, number: int, seq: int = 2) -> int:
    result = await store.append(f"run:r{number}", seq - 1, [new(MessageStopped(), f"m{seq}")])
    return result.position


async def syncs_of(store: GroupCommitEventStore, session_id: str) -> list[str]:
    events = await store.read_stream(f"session:{session_id}")
    return [event.event.sync_id for event in events if isinstance(event.event, SyncRequested)]


def test_twenty_sessions_and_other_process_managers_go_on_while_one_does_not_answer(database: str) -> None:
    held = {"session:s0"}

    async def scenario() -> tuple[timedelta, int]:
        async with running(database, 1, held=held) as store:
            await asyncio.gather(*(running_run(store, number) for number in range(21)))
            began = datetime.now(UTC)
            stopped = await message_stops(store, 0)
            await asyncio.gather(*(message_stops(store, number) for number in range(1, 21)))
            await store.append(
                "session:s0", len(RUNNING), [new(SyncRequested(generation=1, sync_id="y", reason="manual"), "y")]
            )
            last = await store.append("run:other", 0, [new(RunQueued(spec=SPEC), "q")])
            await until(database, SYNCS, [(21,)])
            reached = f"SELECT min(position) >= {last.position} FROM process_manager_checkpoint"
            await until(database, reached, [(True,)])
            took = datetime.now(UTC) - began
            assert await rows(database, PENDING) == [("session.request_sync/run:r0/2:requested", "s0", stopped)]
            async with await open_pool(database) as pool:
                (counted,) = await PostgresProcessManagerRecords(pool).pending()
            assert (counted.process_manager, counted.commands) == ("run_life", 1)
            assert began < counted.since < datetime.now(UTC)
            held.clear()
            await until(database, PENDING, NO_ROWS)
            return took, (await syncs_of(store, "s0")).count("run:r0/2")

    took, delivered = run(scenario())

    assert delivered == 1
    assert took < timedelta(seconds=6)  # a second for the page, more for a machine under load, never 30


def test_later_commands_to_a_session_wait_behind_the_pending_ones(database: str) -> None:
    held = {"session:s1"}

    async def scenario() -> list[str]:
        async with running(database, 1, held=held) as store:
            await running_run(store, 1)
            for seq in (2, 3, 4):
                await message_stops(store, 1, seq)
                await until(database, "SELECT count(*) FROM pending_commands", [(seq - 1,)])
            held.clear()
            await until(database, PENDING, NO_ROWS)
            await message_stops(store, 1, 5)
            await until(database, SYNCS, [(4,)])
            assert await rows(database, PENDING) == NO_ROWS
            return await syncs_of(store, "s1")

    assert run(scenario()) == ["run:r1/2", "run:r1/3", "run:r1/4", "run:r1/5"]


def test_whoever_leads_next_sends_what_a_dead_leader_left_pending(database: str) -> None:
    async def scenario() -> list[str]:
        async with running(database, 1, held={"session:s1"}) as store:
            await running_run(store, 1)
            for seq in (2, 3):
                await message_stops(store, 1, seq)
                await until(database, "SELECT count(*) FROM pending_commands", [(seq - 1,)])
        async with running(database, 1) as store:
            await until(database, PENDING, NO_ROWS)
            return await syncs_of(store, "s1")

    assert run(scenario()) == ["run:r1/2", "run:r1/3"]


def test_a_row_that_outlived_its_delivery_changes_nothing(database: str) -> None:
    """Its leader died after the answer, and before it had deleted the row."""
    left = (
        "INSERT INTO pending_commands (command_id, process_manager, session_id, position) "
        "SELECT 'session.request_sync/run:r1/2:requested', 'run_life', 's1', position FROM events "
        "WHERE type = 'message.stop' RETURNING 1"
    )

    async def scenario() -> list[str]:
        async with running(database, 1) as store:
            await running_run(store, 1)
            await message_stops(store, 1)
            await until(database, SYNCS, [(1,)])
        await rows(database, left)
        async with running(database, 1) as store:
            await until(database, PENDING, NO_ROWS)
            return await syncs_of(store, "s1")

    assert run(scenario()) == ["run:r1/2"]


@pytest.mark.parametrize(("decision", "delivered"), [("retry", ["run:r1/2", "run:r1/3"]), ("skip", ["run:r1/3"])])
def test_a_pending_command_that_fails_in_an_unexpected_way_stops_its_process_manager(
    database: str, decision: str, delivered: list[str]
) -> None:
    held, errors = {"session:s1"}, list[Exception]()

    async def scenario() -> list[str]:
        async with running(database, 1, held=held, errors=errors) as store:
            control = ProcessManagerControl(store=store, clock=clock)
            await running_run(store, 1)
            position = await message_stops(store, 1)
            await until(database, "SELECT count(*) FROM pending_commands", [(1,)])
            await message_stops(store, 1, 3)
            await until(database, "SELECT count(*) FROM pending_commands", [(2,)])
        errors.append(ZeroDivisionError("not today"))
        held.clear()
        async with running(database, 1, errors=errors) as store:
            control = ProcessManagerControl(store=store, clock=clock)
            stopped = await standing(database, "run_life", "stopped")
            assert (stopped.error_position, stopped.error) == (position, "ZeroDivisionError: not today")
            assert stopped.position > position
            context = replace(CONTEXT, command_id="decision")
            if decision == "retry":
                await control.retry("run_life", "mended", context)
            else:
                await control.skip("run_life", position, "of no use", context)
            await until(database, PENDING, NO_ROWS)
            await standing(database, "run_life", "running")
            return await syncs_of(store, "s1")

    assert run(scenario()) == delivered


def test_a_process_manager_with_too_many_pending_commands_waits_alone(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "MAX_PENDING", 0)
    held = {"session:s1"}

    async def scenario() -> tuple[int, str]:
        async with running(database, 1, held=held) as store:
            await running_run(store, 1)
            position = await message_stops(store, 1)
            waiting = await standing(database, "run_life", "waiting")
            manual = SyncRequested(generation=1, sync_id="y", reason="manual")
            await store.append("session:s2", 0, [new(manual, "y")])
            await store.append("run:r2", 0, [new(RunQueued(spec=SPEC), "q")])
            await until(database, SYNCS, [(1,)])
            assert await rows(database, "SELECT run_id FROM run_queue") == [("r1",)]
            held.clear()
            await until(database, "SELECT run_id FROM run_queue ORDER BY run_id", [("r1",), ("r2",)])
            await standing(database, "run_life", "running")
            assert await store.read_stream("process_manager:run_life") == []
            return waiting.position - position, waiting.error or ""

    behind, error = run(scenario())

    assert behind >= 0
    assert error.startswith("TooManyPendingCommands")


def test_nothing_asks_for_pending_commands_while_every_session_answers(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    execute = psycopg.AsyncConnection.execute

    async def counted(self: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        if "pending_commands" in str(query):
            asked.append(str(query))
        return await execute(self, query, *arguments, **options)

    monkeypatch.setattr(psycopg.AsyncConnection, "execute", counted)

    async def scenario() -> None:
        async with running(database, 1) as store:
            await running_run(store, 1)
            await message_stops(store, 1)
            await until(database, SYNCS, [(1,)])

    run(scenario())

    assert asked == []

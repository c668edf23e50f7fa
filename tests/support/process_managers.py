"""Process managers at work on a database, as tests run them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import psycopg

from application.aggregates.aggregates import Aggregates
from application.command_context import CommandContext
from application.operations.consumer_control import ProcessManagerControl
from application.ports.event_store import AppendResult
from application.ports.process_manager_records import ProcessManagerStatus
from application.process_managers.commands import ProcessManagerCommands
from application.process_managers.table import PROCESS_MANAGERS, outcomes_of, wire_names
from application.task_cancellation import cancel_and_wait
from domain.identifiers import run_stream, session_stream
from domain.record import Metadata, NewEvent
from domain.run.decide import decide as decide_run
from domain.run.evolve import evolve as evolve_run
from domain.run.values import Message, RunSpec
from domain.session.decide import decide as decide_session
from domain.session.evolve import evolve as evolve_session
from infrastructure.postgres.connections import open_pool
from infrastructure.postgres.event_store.errors import EventStoreUnavailable
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from infrastructure.postgres.listener import PostgresListener
from infrastructure.postgres.process_managers.cursor import OutcomesOf
from infrastructure.postgres.process_managers.records import PostgresProcessManagerRecords
from infrastructure.postgres.process_managers.runner import ProcessManagerRunner
from infrastructure.postgres.run_queue import RUN_QUEUE_CHANNEL
from tests.support.recorded import OCCURRED_AT

SPEC = RunSpec(
    session_id="s1", user_login_name="ada", provider="scripted", messages=(Message(role="user", content="x"),)
)


def new(event: Any, event_id: str) -> NewEvent:
    metadata = Metadata(actor="ada", correlation_id="c", trace_id="t")
    return NewEvent(event_id=event_id, event=event, occurred_at=OCCURRED_AT, metadata=metadata)


CONTEXT = CommandContext(actor="ada", command_id="x", correlation_id="x")


def clock() -> datetime:
    return OCCURRED_AT


class UnsureStore:
    """`errors` are raised by the next appends to sessions; appends to the streams in `held` wait until those are
    removed."""

    def __init__(self, store: GroupCommitEventStore, errors: list[Exception], held: set[str]) -> None:
        self._store, self._errors, self._held = store, errors, held

    async def append(self, stream: str, expected_seq: int, events: Sequence[NewEvent]) -> AppendResult:
        if stream.startswith("session:") and self._errors:
            raise self._errors.pop(0)
        while stream in self._held:
            await asyncio.sleep(0.01)
        return await self._store.append(stream, expected_seq, events)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def commands(store: Any) -> ProcessManagerCommands:
    return ProcessManagerCommands(
        runs=Aggregates(store=store, clock=clock, stream_of=run_stream, decide=decide_run, evolve=evolve_run),
        sessions=Aggregates(
            store=store, clock=clock, stream_of=session_stream, decide=decide_session, evolve=evolve_session
        ),
        store=store,
        clock=clock,
        unavailable=(EventStoreUnavailable,),
    )


@asynccontextmanager
async def running(
    dsn: str,
    runners: int,
    outcomes_of_: OutcomesOf = outcomes_of,
    *,
    errors: list[Exception] | None = None,
    held: set[str] | None = None,
) -> AsyncIterator[GroupCommitEventStore]:
    async with GroupCommitEventStore(dsn) as store, PostgresListener(dsn) as listener:
        tasks = []
        for _ in range(runners):
            runner = ProcessManagerRunner(
                dsn=dsn,
                store=store,
                position=listener.position,
                outcomes_of=outcomes_of_,
                managers={name: wire_names(name) for name in PROCESS_MANAGERS},
                control=ProcessManagerControl(store=store, clock=clock),
                commands=commands(UnsureStore(store, errors or [], set() if held is None else held)),
            )
            tasks.append(asyncio.create_task(runner.run()))
        try:
            yield store
        finally:
            await cancel_and_wait(tasks)


async def rows(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        return await (await connection.execute(statement)).fetchall()


async def until(dsn: str, statement: str, expected: list[tuple[Any, ...]]) -> None:
    """Look again at every change of the queue, until the rows are there."""
    async with PostgresListener(dsn) as listener, asyncio.timeout(20):
        with listener.subscribe(RUN_QUEUE_CHANNEL) as signal:
            while await rows(dsn, statement) != expected:
                await signal.wait(1)


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

"""The runs of the load benchmark, and Fleetlog's aggregates on them."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from application.aggregates.aggregates import Aggregates
from application.command_context import CommandContext
from domain.event import Event
from domain.identifiers import run_stream
from domain.record import Metadata, NewEvent
from domain.run.commands import RecordJournalEntry, RunCommand
from domain.run.decide import decide
from domain.run.events import MessageDelta, RunClaimed, RunQueued, RunStarted
from domain.run.evolve import evolve, journal_event_id
from domain.run.state import Run
from domain.run.values import Message, RunSpec
from infrastructure.postgres.event_store.aggregate_snapshots import PostgresAggregateSnapshots, open_snapshot_pool
from infrastructure.postgres.event_store.store import GroupCommitEventStore

DELTA = MessageDelta(text="A piece of an agent's answer, as long as such pieces usually are. " * 2, lease_generation=1)
SPEC = RunSpec(
    session_id="bench", user_login_name="bench", provider="scripted", messages=(Message(role="user", content="go"),)
)
OPENING: tuple[Event, ...] = (
    RunQueued(spec=SPEC),
    RunClaimed(lease_generation=1, owner="bench", attempt=1),
    RunStarted(lease_generation=1, attempt=1, generation=1, boot_id="bench"),
)
METADATA = Metadata(actor="bench", correlation_id="0123456789abcdef0123456789abcdef", trace_id="0123456789abcdef")
BATCH = 10


def command_context(command_id: str) -> CommandContext:
    return CommandContext(
        actor=METADATA.actor,
        command_id=command_id,
        correlation_id=METADATA.correlation_id,
        trace_id=METADATA.trace_id,
    )


def new_event(event: Event, event_id: str) -> NewEvent:
    return NewEvent(event_id=event_id, event=event, occurred_at=datetime.now(UTC), metadata=METADATA)


def aggregates(store: GroupCommitEventStore, snapshots: PostgresAggregateSnapshots[Run] | None) -> Any:
    runs: Aggregates[Run, RunCommand] = Aggregates(
        store=store,
        clock=lambda: datetime.now(UTC),
        stream_of=run_stream,
        decide=decide,
        evolve=evolve,
        snapshots=snapshots,
    )
    return runs


async def write_ours(dsn: str, sizes: dict[str, int]) -> None:
    """Running runs with this many events each, journaled as a run worker does it, snapshots included."""
    async with GroupCommitEventStore(dsn) as store:
        pool = await open_snapshot_pool(dsn)
        async with PostgresAggregateSnapshots(pool, state_type=Run) as snapshots:
            runs = aggregates(store, snapshots)
            await asyncio.gather(*[_write_run(store, runs, run_id, size) for run_id, size in sizes.items()])
        await pool.close()


async def _write_run(store: GroupCommitEventStore, runs: Any, run_id: str, size: int) -> None:
    opening = [new_event(event, f"{run_id}/{number}") for number, event in enumerate(OPENING)]
    await store.append(run_stream(run_id), 0, opening)
    entries = range(1, size - len(OPENING) + 1)
    for start in range(0, len(entries), BATCH):
        batch = [
            (
                RecordJournalEntry(lease_generation=1, attempt=1, n=n, event=DELTA),
                journal_event_id(run_id, 1, "bench", n),
            )
            for n in entries[start : start + BATCH]
        ]
        await runs.handle_batch(run_id, batch, command_context("fill"))

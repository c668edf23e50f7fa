"""The run queue on a real Postgres: one run per session, in order; leases, fencing, delays."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import sql
from application.command_context import CommandContext
from application.process_managers.outcomes import DequeueRun, EnqueueRun, Outcome
from domain.event import Event
from domain.operations.events import QueuePaused, QueueResumed
from domain.operations.queue_switch import STREAM_KEY, queue_stream
from domain.record import NewEvent
from domain.run.events import RunCancelRequested
from domain.run.queue_share import QueueShare
from infrastructure.postgres.connections import Pool, open_pool
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from infrastructure.postgres.listener import PostgresListener
from infrastructure.postgres.parked_runs import PARKED_RUNS_CHANNEL
from infrastructure.postgres.process_managers.recording import record
from infrastructure.postgres.run_queue import RUN_QUEUE_CHANNEL, PostgresRunQueue
from tests.support.async_run import run
from tests.support.recorded import recorded

pytestmark = pytest.mark.every_postgres

LEASE = timedelta(seconds=30)
LOCK = 5067271820452102
"""Of sql/functions/claim_runs_2.sql."""
EXPIRED = timedelta(seconds=-1)
ADAS = QueueShare(app_id="shop", project_name="default", user_login_name="ada")


@asynccontextmanager
async def run_queue(
    dsn: str, *, max_running: int = 1000, **limits: int
) -> AsyncIterator[tuple[PostgresRunQueue, Pool]]:
    pool = await open_pool(dsn)
    try:
        async with PostgresListener(dsn) as listener:
            with listener.subscribe(RUN_QUEUE_CHANNEL) as signal, listener.subscribe(PARKED_RUNS_CHANNEL) as endings:
                yield PostgresRunQueue(pool, signal, endings, max_running=max_running, **limits), pool
    finally:
        await pool.close()


async def enqueue(pool: Pool, *runs: tuple[str, str], share: QueueShare = ADAS, first_position: int = 1) -> None:
    """(run id, session id) each, in this order."""
    queued = [
        EnqueueRun(run_id=run_id, session_id=session_id, max_attempts=5, share=share) for run_id, session_id in runs
    ]
    await moved(pool, *queued, first_position=first_position)


async def dequeue(pool: Pool, *run_ids: str) -> None:
    await moved(pool, *(DequeueRun(run_id=run_id) for run_id in run_ids), first_position=1_000_000)


async def moved(pool: Pool, *outcomes: Outcome, first_position: int = 1) -> None:
    """One page of the log whose events have these outcomes, one each."""
    events = recorded("run:r1", [RunCancelRequested()] * len(outcomes), first_position=first_position)
    async with pool.connection() as connection, connection.transaction():
        await record(connection, list(zip(events, outcomes, strict=True)))


async def next_due(pool: Pool, *, max_running: int = 1000) -> float | None:
    """What a claim tells that finds nothing."""
    limits = {"max_running": max_running, "max_per_user": 0, "max_per_app": 0}
    arguments = {"owner": "w", "limit": 10, "ending": 0, "lease": LEASE, "only_stale": False, **limits}
    async with pool.connection() as connection:
        (row,) = await (await connection.execute(sql.query("claim_runs"), arguments)).fetchall()
    assert row[0] is None
    due_in: float | None = row[-1]
    return due_in


async def switched(dsn: str, *events: Event) -> None:
    """The queue's switch, with this history."""
    metadata = CommandContext(actor="a", command_id="c", correlation_id="c").metadata()
    async with GroupCommitEventStore(dsn) as store:
        for number, event in enumerate(events):
            new = NewEvent(event_id=f"switch/{number}", event=event, occurred_at=datetime.now(UTC), metadata=metadata)
            await store.append(queue_stream(STREAM_KEY), number, [new])


async def claimed(queue: PostgresRunQueue, *, limit: int = 10, lease: timedelta = LEASE) -> list[str]:
    return [found.run_id for found in await queue.claim(owner="w", limit=limit, lease=lease)]


def test_a_run_that_is_queued_while_a_claim_waits_for_the_lock_keeps_its_trace(database: str) -> None:
    async def scenario() -> list[str]:
        metadata = CommandContext(actor="a", command_id="c", correlation_id="c", trace_id="a" * 32).metadata()
        new = NewEvent(event_id="queued", event=RunCancelRequested(), occurred_at=datetime.now(UTC), metadata=metadata)
        async with GroupCommitEventStore(database) as store:
            appended = await store.append("run:r1", 0, [new])
        queued = EnqueueRun(run_id="r1", session_id="s1", max_attempts=5, share=ADAS)
        (event,) = recorded("run:r1", [RunCancelRequested()], first_position=appended.position)
        async with run_queue(database) as (queue, pool):
            async with pool.connection() as connection, connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
                claim = asyncio.create_task(queue.claim(owner="w", limit=1, lease=LEASE))
                await until_somebody_waits(pool)
                await record(connection, [(event, queued)])
            return [lease.trace_id for lease in await claim]

    assert run(scenario()) == ["a" * 32]


async def until_somebody_waits(pool: Pool) -> None:
    """For the lock by which claims and moves of the queue take turns."""
    waiting = """SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
    async with asyncio.timeout(60), pool.connection() as connection:
        while await (await connection.execute(waiting)).fetchone() is None:
            await asyncio.sleep(0.01)


def test_a_session_has_one_run_at_a_time_in_the_order_of_the_log(database: str) -> None:
    async def scenario() -> list[list[str]]:
        async with run_queue(database) as (queue, pool):
            await enqueue(pool, ("r1", "s1"), ("r2", "s1"), ("r3", "s2"))
            first, then = sorted(await claimed(queue)), await claimed(queue)
            await dequeue(pool, "r1")
            return [first, then, await claimed(queue)]

    assert run(scenario()) == [["r1", "r3"], [], ["r2"]]


def test_a_run_that_waits_for_its_retry_holds_back_the_later_ones_of_its_session(database: str) -> None:
    async def scenario() -> list[str]:
        async with run_queue(database) as (queue, pool):
            await enqueue(pool, ("r1", "s1"), ("r2", "s1"))
            (lease,) = await queue.claim(owner="w", limit=10, lease=LEASE)
            await queue.release(lease, timedelta(minutes=5))
            return await claimed(queue)

    assert run(scenario()) == []


def test_a_claim_that_was_not_begun_does_not_count(database: str) -> None:
    async def scenario() -> list[int]:
        async with run_queue(database) as (queue, pool):
            await enqueue(pool, ("r1", "s1"))
            counts = []
            for begun in (False, True):
                (lease,) = await queue.claim(owner="w", limit=1, lease=LEASE)
                await queue.release(lease, timedelta(), begun=begun)
                item = await queue.item("r1")
                assert item is not None
                counts.append(item.attempts)
            return counts

    assert run(scenario()) == [0, 1]


def test_the_oldest_runs_are_claimed_first(database: str) -> None:
    async def scenario() -> list[str]:
        async with run_queue(database) as (queue, pool):
            await enqueue(pool, ("z", "s9"), ("y", "s5"), ("x", "s1"))
            return sorted(await claimed(queue, limit=2))

    assert run(scenario()) == ["y", "z"]


def test_racing_claimers_get_different_runs(database: str) -> None:
    async def scenario() -> list[str]:
        async with run_queue(database) as (queue, pool):
            await enqueue(pool, *[(f"r{n}", f"s{n}") for n in range(20)])
            batches = await asyncio.gather(*[claimed(queue, limit=3) for _ in range(10)])
            return [run_id for batch in batches for run_id in batch]

    found = run(scenario())

    assert sorted(found) == sorted(f"r{n}" for n in range(20))


def test_a_lease_that_ran_out_goes_to_the_next_with_a_higher_generation(database: str) -> None:
    async def scenario() -> tuple[int, int, bool, bool]:
        async with run_queue(database) as (queue, pool):
            await enqueue(pool, ("r1", "s1"))
            (old,) = await queue.claim(owner="old", limit=1, lease=EXPIRED)
            (new,) = await queue.claim(owner="new", limit=1, lease=LEASE)
            await queue.release(old, timedelta())
            return old.generation, new.generation, await queue.renew(old, LEASE), await queue.renew(new, LEASE)

    old, new, old_renews, new_renews = run(scenario())

    assert new > old
    assert not old_renews
    assert new_renews


def test_an_item_tells_where_a_run_stands(database: str) -> None:
    async def scenario() -> tuple[Any, Any, Any]:
        async with run_queue(database) as (queue, pool):
            await enqueue(pool, ("r1", "s1"))
            await claimed(queue)
            leased = await queue.item("r1")
            await dequeue(pool, "r1")
            return leased, await queue.item("r1"), await queue.item("unknown")

    leased, done, unknown = run(scenario())

    assert (leased.state, leased.lease_owner, leased.attempts, leased.max_attempts) == ("leased", "w", 1, 5)
    assert done.state == "done"
    assert unknown is None


def test_runs_behind_one_under_way_are_no_reason_to_look_again_soon(database: str) -> None:
    async def scenario() -> float | None:
        async with run_queue(database) as (queue, pool):
            await enqueue(pool, ("r1", "s1"), ("r2", "s1"))
            await claimed(queue)
            return await next_due(pool)

    due = run(scenario())

    assert due is not None
    assert 20 < due <= 30


def test_nothing_is_claimed_from_the_pause_in_the_log_to_the_resumption(database: str) -> None:
    async def scenario() -> list[object]:
        async with run_queue(database) as (queue, pool):
            await enqueue(pool, ("r1", "s1"))
            await switched(database, QueuePaused())
            paused = [await claimed(queue), await next_due(pool)]
            await switched(database, QueuePaused(), QueueResumed())
            return [*paused, await claimed(queue)]

    assert run(scenario()) == [[], None, ["r1"]]


def test_no_more_runs_are_claimed_than_may_run_at_once(database: str) -> None:
    async def scenario() -> tuple[list[str], list[str], float | None, list[str]]:
        async with run_queue(database, max_running=2) as (queue, pool):
            await enqueue(pool, ("r1", "s1"), ("r2", "s2"), ("r3", "s3"))
            first, then = await claimed(queue), await claimed(queue)
            due = await next_due(pool, max_running=2)
            await dequeue(pool, "r1")
            return first, then, due, await claimed(queue)

    first, then, due, after_an_end = run(scenario())

    assert (sorted(first), then, after_an_end) == (["r1", "r2"], [], ["r3"])
    assert due is not None
    assert 20 < due <= 30


def test_racing_claimers_never_claim_a_run_twice(database: str) -> None:
    async def scenario() -> list[str]:
        async with run_queue(database, max_running=3) as (queue, pool):
            await enqueue(pool, *[(f"r{n}", f"s{n % 4}") for n in range(40)])
            batches = await asyncio.gather(*[claimed(queue, limit=2) for _ in range(30)])
            return [run_id for batch in batches for run_id in batch]

    assert sorted(run(scenario())) == ["r0", "r1", "r2"]

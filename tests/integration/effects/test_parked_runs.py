"""Parked runs in the queue on a real Postgres: they hold nothing, and nothing that wakes them is missed."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any

import pytest

from application.ports.run_queue import RunLease
from application.process_managers.outcomes import Outcome, ParkRun, WakeRun
from domain.operations.events import QueuePaused
from domain.run.values import WaitsFor
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.listener import PostgresListener
from infrastructure.postgres.parked_runs import PARKED_RUNS_CHANNEL, PostgresParkedRuns
from infrastructure.postgres.run_queue import PostgresRunQueue
from tests.integration.effects.test_run_queue import (
    LEASE,
    claimed,
    dequeue,
    enqueue,
    moved,
    next_due,
    run_queue,
    switched,
)
from tests.support.async_run import run

pytestmark = pytest.mark.every_postgres

LATER = datetime.now(UTC) + timedelta(hours=1)


@asynccontextmanager
async def looks(dsn: str, pool: Pool) -> AsyncIterator[PostgresParkedRuns]:
    async with PostgresListener(dsn) as listener:
        with listener.subscribe(PARKED_RUNS_CHANNEL) as signal:
            yield PostgresParkedRuns(pool, signal)


def park(lease: RunLease, waits_for: WaitsFor = "person", until: datetime = LATER) -> ParkRun:
    return ParkRun(run_id=lease.run_id, lease_generation=lease.generation, waits_for=waits_for, until=until)


async def leased(queue: PostgresRunQueue, pool: Pool, run_id: str = "r1", session_id: str = "s1") -> RunLease:
    await enqueue(pool, (run_id, session_id))
    (lease,) = await queue.claim(owner="w", limit=1, lease=LEASE)
    return lease


def test_a_parked_run_holds_no_lease_and_is_not_claimed(database: str) -> None:
    async def scenario() -> tuple[Any, bool, list[str]]:
        async with run_queue(database, max_running=1) as (queue, pool):
            lease = await leased(queue, pool)
            await moved(pool, park(lease))
            await queue.release(lease, timedelta())  # its process ends: the run is not given back, since it let go
            await enqueue(pool, ("r2", "s2"), ("behind", "s1"))
            return await queue.item("r1"), await queue.renew(lease, LEASE), await claimed(queue)

    item, renewed, others = run(scenario())

    assert (item.state, item.lease_owner, renewed) == ("waiting", None, False)
    assert others == ["r2"]  # max_running is 1; and the later run of its session waits for it


def test_a_woken_run_goes_on_as_the_same_attempt_and_before_those_that_have_not_begun(database: str) -> None:
    async def scenario() -> tuple[list[Any], Any]:
        async with run_queue(database) as (queue, pool):
            lease = await leased(queue, pool, "z", "s9")
            await moved(pool, park(lease))
            await enqueue(pool, ("a", "s1"))
            await moved(pool, WakeRun(run_id="z"), first_position=10)
            found = list(await queue.claim(owner="w2", limit=1, lease=LEASE))
            return found, await queue.item("z")

    (woken,), item = run(scenario())

    assert (woken.run_id, woken.generation, woken.taken_from) == ("z", 2, "")
    assert (item.state, item.attempts) == ("leased", 1)


def splits(outcomes: Sequence[str]) -> list[list[Sequence[str]]]:
    """All ways to read them in pages."""
    cuts = range(1, len(outcomes))
    chosen = [cut for number in range(len(outcomes)) for cut in combinations(cuts, number)]
    return [
        [outcomes[start:end] for start, end in zip((0, *each), (*each, len(outcomes)), strict=True)] for each in chosen
    ]


WAKE = "wake"
PARK = "park"


@pytest.mark.parametrize("look", [0, 1, 2, 3], ids=lambda at: f"a look after {at}")
@pytest.mark.parametrize("order", [(PARK, WAKE), (WAKE, PARK), (WAKE, PARK, WAKE), (PARK, WAKE, WAKE)], ids="-".join)
def test_however_the_log_is_read_a_wake_up_after_the_parking_counts(
    database: str, order: tuple[str, ...], look: int
) -> None:
    """In every division into pages, and wherever a look comes in between: it finds a run that is parked, once."""

    async def scenario() -> list[tuple[str, int]]:
        found = []
        async with run_queue(database) as (queue, pool), looks(database, pool) as parked_runs:
            for number, pages in enumerate(splits(order)):
                lease = await leased(queue, pool, f"r{number}", f"s{number}")
                outcomes: dict[str, Outcome] = {PARK: park(lease), WAKE: WakeRun(run_id=lease.run_id)}
                position, looked = 1, 0
                for place, page in enumerate(pages):
                    looked += len(await parked_runs.claim_looks(10)) if place == look else 0
                    await moved(pool, *(outcomes[each] for each in page), first_position=position)
                    position += len(page)
                looked += len(await parked_runs.claim_looks(10)) if len(pages) <= look else 0
                item = await queue.item(lease.run_id)
                assert item is not None
                found.append((item.state, looked))
                await dequeue(pool, lease.run_id)
        return found

    ends = run(scenario())

    last = max(index for index, each in enumerate(order) if each == PARK)
    woken = WAKE in order[last + 1 :]
    assert [state for state, _ in ends] == ["ready" if woken else "waiting"] * len(ends)
    if look >= len(order):
        assert [looked for _, looked in ends] == [0 if woken else 1] * len(ends)


def test_whoever_was_overtaken_parks_nothing(database: str) -> None:
    async def scenario() -> Any:
        async with run_queue(database) as (queue, pool):
            await enqueue(pool, ("r1", "s1"))
            (old,) = await queue.claim(owner="old", limit=1, lease=timedelta(seconds=-1))
            await queue.claim(owner="new", limit=1, lease=LEASE)
            await moved(pool, park(old))
            return await queue.item("r1")

    item = run(scenario())

    assert (item.state, item.lease_owner) == ("leased", "new")


def test_a_parked_run_is_claimed_when_its_time_has_come(database: str) -> None:
    async def scenario() -> tuple[list[str], float | None, list[str]]:
        async with run_queue(database) as (queue, pool):
            lease = await leased(queue, pool)
            soon = datetime.now(UTC) + timedelta(seconds=1)
            await moved(pool, park(lease, until=soon))
            before, due = await claimed(queue), await next_due(pool)
            await asyncio.sleep(1)
            return before, due, await claimed(queue)

    before, due, then = run(scenario())

    assert (before, then) == ([], ["r1"])
    assert due is not None
    assert 0 < due <= 1


def test_a_pause_of_the_queue_holds_back_no_run_that_has_begun(database: str) -> None:
    async def scenario() -> list[str]:
        async with run_queue(database) as (queue, pool):
            lease = await leased(queue, pool)
            await moved(pool, park(lease))
            await enqueue(pool, ("r2", "s2"))
            await switched(database, QueuePaused())
            await moved(pool, WakeRun(run_id="r1"), first_position=10)
            return await claimed(queue)

    assert run(scenario()) == ["r1"]


def test_looks_become_rarer_and_each_is_one_processs_alone(database: str) -> None:
    async def scenario() -> tuple[list[str], list[float]]:
        async with run_queue(database) as (queue, pool), looks(database, pool) as parked_runs:
            lease = await leased(queue, pool)
            await moved(pool, park(lease))
            racing = await asyncio.gather(*(parked_runs.claim_looks(10) for _ in range(5)))
            first = [parked.run_id for found in racing for parked in found]
            waits = []
            for minutes in (0, 0.5, 60):
                async with pool.connection() as connection:
                    await connection.execute(
                        "UPDATE run_queue SET look_at = clock_timestamp(), waiting_since = clock_timestamp() - %s",
                        (timedelta(minutes=minutes),),
                    )
                    assert len(await parked_runs.claim_looks(10)) == 1
                    next_look = "SELECT extract(epoch FROM look_at - clock_timestamp()) FROM run_queue"
                    row = await (await connection.execute(next_look)).fetchone()
                    assert row is not None
                    waits.append(float(row[0]))
            return first, waits

    first, waits = run(scenario())

    assert first == ["r1"]
    assert waits == pytest.approx([2, 30, 60], abs=1)


def test_a_look_wakes_only_what_is_parked_as_it_was(database: str) -> None:
    async def scenario() -> list[list[str]]:
        async with run_queue(database) as (queue, pool), looks(database, pool) as parked_runs:
            lease = await leased(queue, pool)
            await moved(pool, park(lease))
            (seen,) = await parked_runs.claim_looks(10)
            await parked_runs.wake(seen)
            first = await queue.claim(owner="w", limit=1, lease=LEASE)
            await moved(pool, park(first[0]))
            await parked_runs.wake(seen)
            return [[each.run_id for each in first], await claimed(queue)]

    assert run(scenario()) == [["r1"], []]


@pytest.mark.parametrize("first", [PARK, WAKE])
def test_a_parked_run_that_is_canceled_does_not_wait_for_the_end_of_others(database: str, first: str) -> None:
    """Also one whose answer came before, and that has not gone on yet since there was no slot."""

    async def scenario() -> tuple[list[str], list[tuple[str, bool]], list[str]]:
        async with run_queue(database, max_running=1) as (queue, pool):
            lease = await leased(queue, pool)
            await moved(pool, park(lease))
            await enqueue(pool, ("r2", "s2"))
            busy = await claimed(queue)
            if first == WAKE:
                await moved(pool, WakeRun(run_id="r1"), first_position=10)
            await moved(pool, WakeRun(run_id="r1", ends=True), first_position=20)
            ending = await queue.claim(owner="w", limit=0, ending=1, lease=LEASE)
            return busy, [(each.run_id, each.ending) for each in ending], await claimed(queue)

    assert run(scenario()) == (["r2"], [("r1", True)], [])


@pytest.mark.parametrize(("waits_for", "ending"), [("person", ["r1"]), ("session", [])])
def test_whose_time_is_over_while_it_waits_for_a_person_ends_although_no_place_is_free(
    database: str, waits_for: WaitsFor, ending: list[str]
) -> None:
    async def scenario() -> list[str]:
        async with run_queue(database, max_running=1) as (queue, pool):
            lease = await leased(queue, pool)
            await moved(pool, park(lease, waits_for=waits_for, until=datetime.now(UTC) - timedelta(seconds=1)))
            await queue.claim(owner="w", limit=0, ending=0, lease=LEASE)
            found = await queue.claim(owner="w", limit=0, ending=1, lease=LEASE)
            return [each.run_id for each in found if each.ending]

    assert run(scenario()) == ending


@pytest.mark.parametrize("by", ["event", "look"])
def test_who_is_answered_in_time_needs_a_place_like_others(database: str, by: str) -> None:
    async def scenario() -> list[str]:
        async with run_queue(database) as (queue, pool):
            lease = await leased(queue, pool)
            await moved(pool, park(lease))
            if by == "event":
                await moved(pool, WakeRun(run_id="r1"), first_position=10)
            else:
                async with looks(database, pool) as parked_runs:
                    (parked,) = await parked_runs.claim_looks(9)
                    await parked_runs.wake(parked)
            await queue.claim(owner="w", limit=0, ending=1, lease=LEASE)
            return await claimed(queue)

    assert run(scenario()) == ["r1"]

"""The effect ledger on a real Postgres: keys, leases, limits, fencing, history."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from psycopg.types.json import Jsonb

import sql
from application.ports.effect_kinds import SLOTS, Slot
from infrastructure.postgres.connections import Pool, open_pool
from infrastructure.postgres.effect_ledger.ledger import EFFECTS_CHANNEL, PostgresEffectLedger
from infrastructure.postgres.listener import PostgresListener
from tests.support.async_run import run

pytestmark = pytest.mark.every_postgres

LEASE = timedelta(seconds=30)
EXPIRED = timedelta(seconds=-1)


@asynccontextmanager
async def ledger(
    dsn: str, *, max_workers: int = 100, max_starting: int = 8
) -> AsyncIterator[tuple[PostgresEffectLedger, Pool]]:
    pool = await open_pool(dsn)
    try:
        async with PostgresListener(dsn) as listener:
            with listener.subscribe(EFFECTS_CHANNEL) as signal:
                yield PostgresEffectLedger(pool, signal, max_workers=max_workers, max_starting=max_starting), pool
    finally:
        await pool.close()


async def want(pool: Pool, *wanted: tuple[str, str, str], notify: bool = False, **params: Any) -> None:
    """(effect id, kind, key) each, caused by positions 1, 2, 3 …"""
    metadata = {"actor": "ada", "correlationId": "c", "causationId": "e"}
    async with pool.connection() as connection:
        await connection.execute(
            sql.query("want_effects"),
            {
                "effect_ids": [effect_id for effect_id, _, _ in wanted],
                "kinds": [kind for _, kind, _ in wanted],
                "keys": [key for _, _, key in wanted],
                "params": [Jsonb(params) for _ in wanted],
                "positions": list(range(1, len(wanted) + 1)),
                "metadata": [Jsonb(metadata) for _ in wanted],
                "delays": [timedelta() for _ in wanted],
            },
        )
        if notify:
            await connection.execute("SELECT pg_notify(%s, '')", (EFFECTS_CHANNEL,))


def free(slots: int) -> dict[Slot, int]:
    """So many slots of each kind."""
    return dict.fromkeys(SLOTS, slots)


def ids(leases: Sequence[Any]) -> list[str]:
    return [lease.effect.effect_id for lease in leases]


def test_an_effect_that_is_wanted_twice_is_recorded_once(database: str) -> None:
    async def scenario() -> list[str]:
        async with ledger(database) as (effects, pool):
            await want(pool, ("e1", "container.stop", "a"))
            await want(pool, ("e1", "container.stop", "a"))
            return ids(await effects.claim(owner="w", free=free(10), lease=LEASE))

    assert run(scenario()) == ["e1"]


def test_a_key_is_worked_one_effect_at_a_time_oldest_first(database: str) -> None:
    async def scenario() -> list[list[str]]:
        async with ledger(database) as (effects, pool):
            await want(
                pool, ("a1", "container.stop", "a"), ("a2", "container.stop", "a"), ("b1", "container.stop", "b")
            )
            first = await effects.claim(owner="w", free=free(10), lease=LEASE)
            blocked = await effects.claim(owner="w", free=free(10), lease=LEASE)
            await effects.settle(first[0], "done")
            then = await effects.claim(owner="w", free=free(10), lease=LEASE)
            return [ids(first), ids(blocked), ids(then)]

    assert run(scenario()) == [["a1", "b1"], [], ["a2"]]


def test_who_ends_an_effect_looks_at_once_for_the_next_of_its_key(database: str) -> None:
    """Without polling: nothing of the key is due before, at the latest when the lease runs out."""

    async def scenario() -> tuple[float, list[str]]:
        async with ledger(database) as (effects, pool):
            await want(pool, ("a1", "container.stop", "a"), ("a2", "container.stop", "a"))
            (first,) = await effects.claim(owner="w", free=free(10), lease=LEASE)
            await effects.claim(owner="w", free=free(10), lease=LEASE)
            due = (effects._next_due._at or 0) - asyncio.get_running_loop().time()
            await effects.wait_for_work(0.01)  # what was told until now
            await effects.settle(first, "done")
            async with asyncio.timeout(0.5):
                await effects.wait_for_work(30)
            return due, ids(await effects.claim(owner="w", free=free(10), lease=LEASE))

    due, then = run(scenario())

    assert 20 < due <= 30
    assert then == ["a2"]


def test_an_effect_whose_worker_ends_is_given_to_the_next(database: str) -> None:
    async def scenario() -> tuple[list[str], list[tuple[int, str, str]]]:
        async with ledger(database) as (effects, pool):
            await want(pool, ("e1", "container.stop", "a"))
            (lease,) = await effects.claim(owner="old", free=free(1), lease=LEASE)
            await effects.release(lease)
            claimed = ids(await effects.claim(owner="new", free=free(1), lease=LEASE))
            await effects.release(lease)  # it is not its own any more
            async with pool.connection() as connection:
                tries = await (
                    await connection.execute("SELECT attempt, owner, outcome FROM effect_attempts ORDER BY attempt")
                ).fetchall()
            return claimed, tries

    assert run(scenario()) == (["e1"], [(1, "old", "interrupted"), (2, "new", "started")])


def test_an_effect_that_waits_for_its_next_try_lets_others_of_its_key_pass(database: str) -> None:
    async def scenario() -> list[str]:
        async with ledger(database) as (effects, pool):
            await want(pool, ("a1", "workspace.sync", "a"), ("a2", "container.stop", "a"))
            (first,) = await effects.claim(owner="w", free=free(10), lease=LEASE)
            await effects.settle(first, "failed", error="no", delay=timedelta(minutes=5))
            return ids(await effects.claim(owner="w", free=free(10), lease=LEASE))

    assert run(scenario()) == ["a2"]


def test_racing_claimers_never_share_a_key_or_an_effect(database: str) -> None:
    async def scenario() -> list[str]:
        async with ledger(database) as (effects, pool):
            await want(pool, *[(f"e{n}", "container.stop", f"key{n % 10}") for n in range(40)])
            claims = [effects.claim(owner=f"w{n}", free=free(3), lease=LEASE) for n in range(8)]
            return [effect for claimed in await asyncio.gather(*claims) for effect in ids(claimed)]

    claimed = run(scenario())

    assert sorted(claimed) == sorted(f"e{n}" for n in range(10))


def test_a_lease_that_ran_out_is_claimed_again_and_its_old_holder_is_fenced(database: str) -> None:
    async def scenario() -> tuple[bool, bool, int, list[str]]:
        async with ledger(database) as (effects, pool):
            await want(pool, ("e1", "container.stop", "a"))
            (old,) = await effects.claim(owner="old", free=free(1), lease=EXPIRED)
            (new,) = await effects.claim(owner="new", free=free(1), lease=LEASE)
            old_renews = await effects.renew(old, LEASE)
            await effects.settle(old, "done")
            new_renews = await effects.renew(new, LEASE)
            return (
                old_renews,
                new_renews,
                new.effect.attempt,
                ids(await effects.claim(owner="x", free=free(1), lease=LEASE)),
            )

    assert run(scenario()) == (False, True, 2, [])


async def move(pool: Pool, query: str, key: str, position: int = 0) -> None:
    async with pool.connection() as connection:
        await connection.execute(sql.query(query), {"key": key, "position": position})
        await connection.execute("SELECT pg_notify(%s, '')", (EFFECTS_CHANNEL,))


async def want_workers(pool: Pool, count: int) -> None:
    """Sessions s0, s1, … ask for a worker each, in this order."""
    for number in range(count):
        await move(pool, "want_worker_slot", f"s{number}", number + 1)
    await want(pool, *[(f"create{n}", "container.create", f"s{n}") for n in range(count)])


def test_a_start_counts_from_its_first_effect_until_the_worker_is_up(database: str) -> None:
    async def scenario() -> list[list[str]]:
        async with ledger(database, max_starting=2) as (effects, pool):
            await want_workers(pool, 4)
            await want(pool, ("stop", "container.stop", "s9"))
            first = await effects.claim(owner="w", free=free(10), lease=LEASE)
            for lease in first:
                await effects.settle(lease, "done")
            await want(pool, ("restore0", "workspace.restore", "s0"))
            between = await effects.claim(owner="w", free=free(10), lease=LEASE)
            await effects.settle(between[0], "done")
            await move(pool, "worker_is_up", "s0")
            then = await effects.claim(owner="w", free=free(10), lease=LEASE)
            return [sorted(ids(first)), ids(between), ids(then)]

    assert run(scenario()) == [["create0", "create1", "stop"], ["restore0"], ["create2"]]


def test_a_failed_try_keeps_its_place_and_a_restarted_claimer_goes_on_with_it(database: str) -> None:
    async def scenario() -> list[list[str]]:
        async with ledger(database, max_starting=1) as (effects, pool):
            await want_workers(pool, 2)
            (first,) = await effects.claim(owner="w", free=free(10), lease=LEASE)
            await effects.settle(first, "failed", error="no", delay=timedelta(minutes=5))
            blocked = await effects.claim(owner="w", free=free(10), lease=LEASE)
            await move(pool, "worker_is_up", "s0")
            (second,) = await effects.claim(owner="w", free=free(10), lease=EXPIRED)
            again = await effects.claim(owner="next", free=free(10), lease=LEASE)
            return [ids(blocked), ids([second]), ids(again)]

    assert run(scenario()) == [[], ["create1"], ["create1"]]


def test_at_most_max_workers_are_up_and_others_wait_in_order(database: str) -> None:
    async def scenario() -> list[list[str]]:
        async with ledger(database, max_workers=2) as (effects, pool):
            await want_workers(pool, 4)
            first = await effects.claim(owner="w", free=free(10), lease=LEASE)
            for key in ("s0", "s1"):
                await move(pool, "worker_is_up", key)
            full = await effects.claim(owner="w", free=free(10), lease=LEASE)
            waiting = asyncio.create_task(effects.wait_for_work(30))
            await move(pool, "free_worker_slot", "s1")
            async with asyncio.timeout(90):
                await waiting
            then = await effects.claim(owner="w", free=free(10), lease=LEASE)
            return [ids(first), ids(full), ids(then)]

    assert run(scenario()) == [["create0", "create1"], [], ["create2"]]


def test_every_try_is_on_record_with_its_outcome(database: str) -> None:
    async def scenario() -> list[tuple[Any, ...]]:
        async with ledger(database) as (effects, pool):
            await want(pool, ("e1", "container.stop", "a"))
            (first,) = await effects.claim(owner="w1", free=free(1), lease=LEASE)
            await effects.settle(first, "failed", error="the daemon is away")
            (second,) = await effects.claim(owner="w2", free=free(1), lease=LEASE)
            await effects.settle(second, "done")
            async with pool.connection() as connection:
                cursor = await connection.execute(
                    "SELECT attempt, owner, outcome, error, finished_at IS NOT NULL "
                    "FROM effect_attempts ORDER BY attempt"
                )
                return await cursor.fetchall()

    assert run(scenario()) == [(1, "w1", "failed", "the daemon is away", True), (2, "w2", "done", "", True)]


def test_a_try_that_does_not_count_is_put_back_and_leaves_no_trace_but_why(database: str) -> None:
    async def scenario() -> list[Any]:
        async with ledger(database) as (effects, pool):
            await want(pool, ("e1", "container.create", "a"))
            for _ in range(8):  # more than it may be tried
                (lease,) = await effects.claim(owner="w1", free=free(1), lease=LEASE)
                assert (lease.effect.attempt, lease.effect.last_attempt) == (1, False)
                await effects.defer(lease, error="docker is down", delay=timedelta())
            await effects.defer(lease, error="too late", delay=timedelta())  # it is not its own any more
            (last,) = await effects.claim(owner="w2", free=free(1), lease=LEASE)
            await effects.defer(last, error="docker is down", delay=timedelta(minutes=5))
            assert await effects.claim(owner="w1", free=free(1), lease=LEASE) == []
            async with pool.connection() as connection:
                tries = await (await connection.execute("SELECT count(*) FROM effect_attempts")).fetchall()
                told = await (await connection.execute("SELECT state, attempts, last_error FROM effects")).fetchall()
            return [tries, told]

    assert run(scenario()) == [[(0,)], [("ready", 0, "docker is down")]]


def test_a_waiting_worker_is_woken_by_new_work(database: str) -> None:
    async def scenario() -> list[str]:
        async with ledger(database) as (effects, pool):
            await effects.wait_for_work(5)
            waiting = asyncio.create_task(effects.wait_for_work(30))
            await want(pool, ("e1", "container.stop", "a"), notify=True)
            async with asyncio.timeout(90):
                await waiting
            return ids(await effects.claim(owner="w", free=free(1), lease=LEASE))

    assert run(scenario()) == ["e1"]


SYNC = "workspace.sync"


async def next_due(effects: PostgresEffectLedger) -> float | None:
    due_at = effects._next_due._at
    return None if due_at is None else due_at - asyncio.get_running_loop().time()


def test_long_work_takes_its_own_slots_alone(database: str) -> None:
    async def scenario() -> tuple[list[list[str]], float | None]:
        async with ledger(database) as (effects, pool):
            await want(pool, *[(f"long{n}", SYNC, f"s{n}") for n in range(5)])
            await want(pool, ("stop", SYNC, "s6"), beforeStop=True)
            await want(pool, ("reply", "human_loop.deliver_reply", "r"), ("create", "container.create", "s7"))
            first = await effects.claim(owner="w", free={"short": 2, "long": 2, "stop": 1}, lease=LEASE)
            none_free = await effects.claim(owner="w", free={"short": 2, "stop": 1}, lease=LEASE)
            due = await next_due(effects)
            await effects.settle(first[0], "done")
            then = await effects.claim(owner="w", free={"short": 2, "long": 1, "stop": 1}, lease=LEASE)
            return [sorted(ids(first)), ids(none_free), ids(then)], due

    (first, none_free, then), due = run(scenario())

    assert first == ["create", "long0", "long1", "reply", "stop"]
    assert (none_free, then) == ([], ["long2"])
    assert due is not None
    assert due > 20  # not now: what is due has no slot


def test_in_a_key_long_work_without_a_slot_lets_short_work_pass(database: str) -> None:
    async def scenario() -> list[str]:
        async with ledger(database) as (effects, pool):
            await want(pool, ("long", SYNC, "s"), ("stop", "container.stop", "s"))
            return ids(await effects.claim(owner="w", free={"short": 1}, lease=LEASE))

    assert run(scenario()) == ["stop"]


def test_a_failed_sync_puts_off_the_other_long_work_of_its_session_alone(database: str) -> None:
    async def scenario() -> list[str]:
        async with ledger(database) as (effects, pool):
            await want(pool, ("s1", SYNC, "s"), ("s2", SYNC, "s"), ("s3", "container.stop", "s"), ("t", SYNC, "t"))
            first, other = await effects.claim(owner="w", free=free(10), lease=LEASE)
            await effects.settle(first, "failed", error="disk full", delay=timedelta(minutes=1))
            return [other.effect.effect_id, *ids(await effects.claim(owner="w", free=free(10), lease=LEASE))]

    assert run(scenario()) == ["t", "s3"]

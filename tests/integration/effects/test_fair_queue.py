"""Whose turn it is in the run queue, on a real Postgres: shares take turns within their priority, and have limits."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import psycopg
import pytest
from msgspec.structs import replace

import sql
from application.ports.run_queue import LostRun
from application.process_managers.outcomes import ParkRun, PostponeRun, WakeRun
from domain.event import encode
from domain.operations.events import QueuePaused
from domain.run.events import RunQueued
from domain.run.queue_share import QueueShare
from domain.run.values import Message, Priority, RunSpec
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.migrations import migrate
from infrastructure.postgres.run_queue import PostgresRunQueue
from tests.integration.effects.test_run_queue import (
    LEASE,
    claimed,
    dequeue,
    enqueue,
    moved,
    run_queue,
    switched,
)
from tests.support.async_run import run

pytestmark = pytest.mark.every_postgres


def share(user: str, *, priority: Priority = "normal", app: str = "shop", project: str = "default") -> QueueShare:
    return QueueShare(priority=priority, app_id=app, project_name=project, user_login_name=user)


async def many(pool: Pool, number: int, of: QueueShare, *, first_position: int = 1, session: str = "") -> None:
    """So many runs `{user}-{n}`, each in a session of its own, or all in one."""
    user = of.user_login_name
    runs = [(f"{user}-{n:03}", session or f"{user}-{n:03}") for n in range(number)]
    await enqueue(pool, *runs, share=of, first_position=first_position)


async def one_by_one(queue: PostgresRunQueue, pool: Pool, times: int) -> list[str]:
    """The runs in the order of their claims; each ends before the next claim."""
    found: list[str] = []
    for _ in range(times):
        (run_id,) = await claimed(queue, limit=1)
        await dequeue(pool, run_id)
        found.append(run_id)
    return found


def users(run_ids: list[str]) -> list[str]:
    return [run_id.split("-")[0] for run_id in run_ids]


@pytest.mark.parametrize("at_once", [1, 8, 40])
def test_one_user_with_many_runs_does_not_make_others_wait(database: str, at_once: int) -> None:
    """The many are queued first; then twenty users come with one run each: all of them are among the first 40."""

    async def scenario() -> list[str]:
        async with run_queue(database) as (queue, pool):
            await many(pool, 500, share("greedy"))
            first = await claimed(queue, limit=20)
            for number in range(20):
                await many(pool, 1, share(f"user{number}"), first_position=1000 + number)
            for _ in range(40 // at_once):
                first += await claimed(queue, limit=at_once)
            return users(first[20:])

    claims = run(scenario())

    assert len(claims) == 40
    assert sum(user != "greedy" for user in claims) == 20


def test_shares_take_turns_and_each_share_keeps_its_own_order(database: str) -> None:
    async def scenario() -> list[str]:
        async with run_queue(database) as (queue, pool):
            await many(pool, 4, share("ada"))
            await many(pool, 2, share("bob"), first_position=100)
            await many(pool, 2, share("bob", project="other"), first_position=200)
            return await one_by_one(queue, pool, 6)

    # The other project's runs have the same ids as those of the first, which were queued before: they are no new runs.
    assert run(scenario()) == ["ada-000", "bob-000", "ada-001", "bob-001", "ada-002", "ada-003"]


def test_who_comes_back_again_and_again_does_not_overtake_who_waits(database: str) -> None:
    async def scenario() -> list[str]:
        async with run_queue(database) as (queue, pool):
            await many(pool, 20, share("ada"))
            found = []
            for number in range(5):
                await enqueue(pool, (f"bob-{number}", f"b{number}"), share=share("bob"), first_position=100 + number)
                found += await one_by_one(queue, pool, 2)
            return users(found)

    assert run(scenario()).count("ada") == 5


def test_a_user_whose_runs_wait_for_one_another_gives_its_turns_to_others(database: str) -> None:
    """Of a session only the first run is in the line."""

    async def scenario() -> list[str]:
        async with run_queue(database) as (queue, pool):
            await many(pool, 300, share("ada"), session="one session")
            await many(pool, 3, share("bob"), first_position=1000)
            return await claimed(queue, limit=10)

    assert sorted(run(scenario())) == ["ada-000", "bob-000", "bob-001", "bob-002"]


def test_priorities_come_before_turns(database: str) -> None:
    async def scenario() -> list[str]:
        async with run_queue(database) as (queue, pool):
            await many(pool, 2, share("low", priority="low"))
            await many(pool, 2, share("normal"), first_position=100)
            await many(pool, 2, share("high", priority="high"), first_position=200)
            return [*users(await claimed(queue, limit=3)), *users(await one_by_one(queue, pool, 3))]

    assert run(scenario()) == ["high", "high", "normal", "normal", "low", "low"]


def test_a_user_and_an_app_run_no_more_at_once_than_they_may(database: str) -> None:
    async def scenario() -> list[list[str]]:
        async with run_queue(database, max_per_user=2, max_per_app=3) as (queue, pool):
            await many(pool, 300, share("ada"))
            for number, user in enumerate(("bob", "eve"), 1):
                await many(pool, 9, share(user), first_position=1000 * number)
            await many(pool, 9, share("kim", app="other"), first_position=5000)
            await enqueue(pool, ("ada-elsewhere", "a"), share=share("ada", app="other"), first_position=6000)
            first, then = await claimed(queue, limit=100), await claimed(queue, limit=100)
            await dequeue(pool, *[each for each in first if each.startswith("bob")])
            return [users(each) for each in (first, then, await claimed(queue, limit=100))]

    first, then, after_an_end = run(scenario())

    assert sorted(first) == ["ada", "ada", "bob", "eve", "kim", "kim"]  # three of the shop's, three of the other's
    assert then == []
    assert after_an_end in (["bob"], ["eve"])  # ada has two


def test_a_run_that_goes_on_is_not_held_back_by_the_limit_of_its_user(database: str) -> None:
    async def scenario() -> list[str]:
        async with run_queue(database, max_per_user=1) as (queue, pool):
            await many(pool, 3, share("ada"))
            (first,) = await queue.claim(owner="w", limit=5, lease=LEASE)
            until = datetime.now(UTC) + timedelta(hours=1)
            parked = ParkRun(run_id=first.run_id, lease_generation=1, waits_for="person", until=until)
            await moved(pool, parked)
            second = await claimed(queue)
            await moved(pool, WakeRun(run_id=first.run_id))
            return [first.run_id, *second, *await claimed(queue)]

    assert run(scenario()) == ["ada-000", "ada-001", "ada-000"]


def test_a_retry_takes_its_place_in_the_line_when_it_is_due(database: str) -> None:
    async def scenario() -> tuple[list[str], list[str]]:
        async with run_queue(database) as (queue, pool):
            await many(pool, 3, share("ada"))
            (first,) = await claimed(queue, limit=1)
            await moved(pool, PostponeRun(run_id=first, available_at=datetime.now(UTC) + timedelta(seconds=0.5)))
            before = await claimed(queue, limit=1)
            await asyncio.sleep(0.5)
            return [first, *before], await claimed(queue, limit=1)

    assert run(scenario()) == (["ada-000", "ada-001"], ["ada-000"])


@pytest.mark.parametrize("state", ["done before its turn", "queued by an older version", "its share forgotten", "lost"])
def test_whatever_should_be_in_the_line_gets_there(database: str, state: str) -> None:
    async def scenario() -> list[str]:
        async with run_queue(database) as (queue, pool):
            await many(pool, 2, share("ada"), session="s")
            await many(pool, 1, share("bob"), first_position=10)
            match state:
                case "done before its turn":
                    await dequeue(pool, "ada-000")
                case "queued by an older version":
                    await execute(
                        pool, "UPDATE run_queue SET in_line = false, share = '' WHERE user_login_name = 'ada'"
                    )
                case "its share forgotten":
                    await execute(pool, "UPDATE run_queue_shares SET active = false WHERE user_login_name = 'ada'")
                case "lost":
                    await execute(pool, "DELETE FROM run_queue WHERE run_id = 'ada-000'")
                    lost = LostRun(
                        run_id="ada-000", session_id="s", position=1, attempts=0, max_attempts=5, lease_generation=1,
                        share=share("ada"),
                    )  # fmt: skip
                    assert await queue.restore(lost)
            lined_up = await queue.line_up_lost(10)
            assert bool(lined_up) == (state in {"queued by an older version", "its share forgotten"})
            return await claimed(queue)

    first = "ada-001" if state == "done before its turn" else "ada-000"
    assert sorted(run(scenario())) == [first, "bob-000"]


async def execute(pool: Pool, statement: str) -> None:
    async with pool.connection() as connection:
        await connection.execute(statement.encode())


def test_what_was_queued_before_gets_its_share_by_its_first_event(empty_database: str) -> None:
    ada, bob = (
        RunSpec(session_id="s", user_login_name=user, provider="scripted", messages=()) for user in ("ada", "bob")
    )
    specs = {
        "r1": replace(ada, app_id="shop", messages=(Message(role="user", content='\0 "appId":"x"'),)),
        "r2": replace(ada, app_id="shop", project_name="p", provider_options={"userLoginName": "x"}),
        "r3": replace(bob, provider_options={"appId": "x"}),
        "ended": bob,
    }

    async def scenario() -> tuple[list[Any], list[str]]:
        await migrate(empty_database, up_to=800)
        async with await psycopg.AsyncConnection.connect(empty_database) as connection:
            for number, (run_id, spec) in enumerate(specs.items(), 1):
                await connection.execute(
                    "INSERT INTO events (position, seq, occurred_at, recorded_at, schema_version, tenant, stream, "
                    "type, event_id, metadata, payload_hash, chain_hash, payload) "
                    "VALUES (%s, 1, now(), now(), 1, 'default', %s, 'run.queued', %s, '{}', '', '', %s)",
                    (number, f"run:{run_id}", run_id, encode(RunQueued(spec=spec))),
                )
                await connection.execute(
                    "INSERT INTO run_queue (run_id, session_id, position, max_attempts, state) "
                    "VALUES (%s, %s, %s, 5, %s)",
                    (run_id, f"s{max(number - 1, 1)}", number, "done" if run_id == "ended" else "ready"),
                )
        await migrate(empty_database)
        async with run_queue(empty_database) as (queue, pool), pool.connection() as connection:
            rows = await connection.execute("SELECT run_id, share, in_line FROM run_queue ORDER BY position")
            return await rows.fetchall(), await claimed(queue)

    rows, first = run(scenario())

    assert rows == [
        ("r1", share("ada").key, True),
        ("r2", share("ada", project="p").key, False),
        ("r3", share("bob", app="default").key, True),
        ("ended", "", False),
    ]
    assert sorted(first) == ["r1", "r3"]


def test_shares_that_nobody_needs_are_forgotten(database: str) -> None:
    async def scenario() -> list[int]:
        async with run_queue(database) as (queue, pool):
            numbers = []
            for round_ in range(2):
                for user in range(5):
                    at = 100 * round_ + user
                    await enqueue(pool, (f"r{at}", f"s{at}"), share=share(f"u{user}-{round_}"), first_position=1 + at)
                await one_by_one(queue, pool, 5)
                await claimed(queue)
                await queue.line_up_lost(10)
                async with pool.connection() as connection:
                    row = await (await connection.execute("SELECT count(*) FROM run_queue_shares")).fetchone()
                assert row is not None
                numbers.append(row[0])
            return numbers

    assert run(scenario())[-1] <= 5


def test_the_queue_tells_a_runs_place_and_what_it_waits_for(database: str) -> None:
    async def scenario() -> dict[str, tuple[Any, Any]]:
        async with run_queue(database) as (queue, pool):
            told: dict[str, tuple[Any, Any]] = {}

            async def tell(name: str, run_id: str) -> None:
                item = await queue.item(run_id)
                assert item is not None
                assert item.place is None or type(item.place) is int
                told[name] = (item.waits_for, item.place)

            await many(pool, 300, share("ada"))
            await many(pool, 2, share("bob"), first_position=1000)
            await enqueue(pool, ("behind", "ada-002"), ("behind2", "ada-002"), share=share("ada"), first_position=2000)
            await tell("the first", "ada-000")
            await tell("whose turn is next", "bob-000")
            await tell("the second of another", "bob-001")
            await tell("the last", "ada-299")
            await tell("behind its session's first", "behind2")
            await switched(database, QueuePaused())
            await tell("in a paused queue", "ada-001")
            return told

    told = run(scenario())

    assert told == {
        "the first": ("turn", 1),
        "whose turn is next": ("turn", 2),
        "the second of another": ("turn", 4),
        "the last": ("turn", 302),
        "behind its session's first": ("session", 3),
        "in a paused queue": ("resumption", 3),
    }


def test_the_place_in_the_line_is_the_order_of_the_claims(database: str) -> None:
    async def scenario() -> tuple[list[str], list[str]]:
        async with run_queue(database) as (queue, pool):
            for number, user in enumerate(("ada", "bob", "eve")):
                await many(pool, 2 + 2 * number, share(user), first_position=1 + 100 * number)
            await claimed(queue, limit=1)
            places = {}
            for run_id in ("ada-001", *(f"bob-{n:03}" for n in range(4)), *(f"eve-{n:03}" for n in range(6))):
                item = await queue.item(run_id)
                assert item is not None
                places[run_id] = item.place or 0
            told = sorted(places, key=places.__getitem__)
            return told, await one_by_one(queue, pool, len(places))

    told, claims = run(scenario())

    assert told == claims


@pytest.mark.parametrize(
    "spread",
    [
        pytest.param("100,000 sessions of one user", id="one user"),
        "one session",
        "10,000 users",
        "one user at its limit",
    ],
)
def test_a_claim_from_a_long_queue_costs_what_it_costs_from_a_short_one(database: str, spread: str) -> None:
    """Pages that a claim reads, counted by Postgres: a figure without noise."""
    per_user = {"10,000 users": "'u' || n %% 10000"}.get(spread, "'greedy'")
    session = "'one'" if spread == "one session" else "'s' || n"
    fill = f"""
        INSERT INTO run_queue (run_id, session_id, position, max_attempts, share, app_id, user_login_name, in_line)
        SELECT 'x' || n, {session}, 10 + n, 5, {per_user}, 'shop', {per_user}, {session} <> 'one' OR n = 1
        FROM generate_series(1, %(runs)s) AS n;
        """
    shares = """
        INSERT INTO run_queue_shares (share, priority, app_id, user_login_name, next_turn, since)
        SELECT share, 1, 'shop', min(user_login_name), 1, min(position) FROM run_queue WHERE in_line GROUP BY share
        ON CONFLICT DO NOTHING
        """

    async def pages(runs: int) -> Claim:
        limits = {"max_per_user": 1} if spread == "one user at its limit" else {}
        async with run_queue(database, **limits) as (queue, pool):
            await execute(pool, "TRUNCATE run_queue, run_queue_shares")
            await many(pool, 1, share("first"))
            async with pool.connection() as connection:
                await connection.execute(fill.encode(), {"runs": runs})
                await connection.execute(shares.encode())
            await claimed(queue, limit=4)
            return await explained(database, queue)

    async def scenario() -> tuple[Claim, Claim]:
        return await pages(100), await pages(100_000)

    short, long = run(scenario())

    assert long.pages <= 3 * short.pages + 50, "\n".join(long.plans)


class Claim(NamedTuple):
    """`pages`: that it read. `plans`: of the statements within it, as Postgres explains them."""

    pages: int
    plans: list[str]


EXPLAIN_ALL = """
    LOAD 'auto_explain';
    SET auto_explain.log_min_duration = 0;
    SET auto_explain.log_nested_statements = on;
    SET auto_explain.log_analyze = on;
    SET auto_explain.log_buffers = on;
    SET client_min_messages = log;
    """


async def explained(dsn: str, queue: PostgresRunQueue) -> Claim:
    arguments = {"owner": "w", "limit": 8, "ending": 8, "lease": LEASE, "only_stale": False, **queue._limits}
    statement = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + sql.query("claim_runs")
    plans: list[str] = []
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        await connection.execute(EXPLAIN_ALL)
        connection.add_notice_handler(lambda said: plans.append(said.message_primary or ""))
        row = await (await connection.execute(statement.encode(), arguments)).fetchone()
    assert row is not None
    plan = row[0][0]["Plan"]
    return Claim(int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]), plans)

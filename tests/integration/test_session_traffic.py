"""The traffic of a session is one sum over all processes, counted by the hour, and no hurdle while the database is
away."""

import asyncio

import pytest

from application.ports.session_traffic import Traffic
from infrastructure.postgres.connections import open_pool
from infrastructure.postgres.session_traffic import ADD_EVENTS, PostgresSessionTraffic
from tests.support.async_run import run

pytestmark = pytest.mark.every_postgres

OLD = "INSERT INTO session_traffic VALUES (now() - interval '3 hours', 'default', 's', 10, 10)"


def traffic(events: int, size: int = 0) -> Traffic:
    return Traffic(events=events, bytes=size)


def test_what_several_processes_count_is_one_sum(database: str) -> None:
    time = [0.0]

    async def check() -> None:
        async with await open_pool(database, size=2) as pool:
            one, other = (PostgresSessionTraffic(pool, clock=lambda: time[0]) for _ in range(2))
            assert await one.add("s", traffic(3, 30)) == traffic(3, 30)
            assert await other.add("s", traffic(2, 20)) == traffic(5, 50)
            assert await other.add("t", traffic(1)) == traffic(1)
            assert await one.add("s", traffic(1, 10)) == traffic(4, 40), "what others counted, it learns in a second"
            time[0] = 1.0
            assert await one.add("s", traffic(1, 10)) == traffic(7, 70)
            await one.add("s", traffic(ADD_EVENTS))
            assert await other.add("s", traffic(0)) == traffic(ADD_EVENTS + 7, 70), "much is added at once"

    run(check())


def test_what_is_counted_at_once_is_added_once(database: str) -> None:
    async def check() -> None:
        async with await open_pool(database, size=2) as pool:
            one = PostgresSessionTraffic(pool, clock=lambda: 0.0)
            await asyncio.gather(*(one.add("s", traffic(ADD_EVENTS)) for _ in range(4)))
            assert await PostgresSessionTraffic(pool).add("s", traffic(0)) == traffic(ADD_EVENTS)
            assert await one.add("s", traffic(1)) == traffic(4 * ADD_EVENTS + 1)

    run(check())


def test_past_hours_do_not_count_and_are_forgotten(database: str) -> None:
    async def check() -> None:
        async with await open_pool(database, size=1) as pool:
            async with pool.connection() as connection:
                await connection.execute(OLD)
            assert await PostgresSessionTraffic(pool).add("s", traffic(1)) == traffic(1)
            async with pool.connection() as connection:
                assert await (await connection.execute("SELECT events FROM session_traffic")).fetchall() == [(1,)]

    run(check())


def test_while_the_database_is_away_it_counts_on(database: str) -> None:
    time = [0.0]

    async def check() -> None:
        pool = await open_pool(database, size=1)
        counter = PostgresSessionTraffic(pool, clock=lambda: time[0])
        await counter.add("s", traffic(1))
        await pool.close()
        for number in range(2, 5):
            time[0] += 2
            assert await counter.add("s", traffic(1)) == traffic(number)

    run(check())

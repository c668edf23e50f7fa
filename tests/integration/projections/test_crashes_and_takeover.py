"""Projecting processes that are killed: nothing is lost or counted twice, and the next one takes over at once."""

import asyncio
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.async_run import run
from tests.support.mixed_history import append_all, mixed_history
from tests.support.projecting import NAMES, ProjectionHarness, projection_harness
from tests.support.samples import samples

pytestmark = pytest.mark.proof


PAGE_POSITIONS = 5


@asynccontextmanager
async def projecting_process(
    dsn: str, page_positions: int = PAGE_POSITIONS
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process with a running projector; killed at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.projecting", dsn, str(page_positions), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 30) == b"projecting\n"
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()


async def positions(harness: ProjectionHarness) -> dict[str, int]:
    return {status.projection: status.position for status in await harness.admin.status() if status.state == "active"}


async def moved(harness: ProjectionHarness, before: dict[str, int]) -> None:
    """Waits until some read model has got further; looked at every 5 ms."""
    async with asyncio.timeout(90):
        while sum((await positions(harness)).values()) <= sum(before.values()):
            await asyncio.sleep(0.005)


async def kill_at_random_points(dsn: str, kills: int) -> None:
    random_ = random.Random(kills)
    async with projection_harness(dsn) as harness:
        last = await append_all(harness.store, mixed_history(sessions=10 + kills, runs_each=4))
        middle = 0
        for _ in range(kills):
            before = await positions(harness)
            async with projecting_process(dsn):
                await moved(harness, before)
                await asyncio.sleep(random_.uniform(0, 0.05))  # wherever in a batch it is then
            after = await positions(harness)
            assert all(after[name] >= position for name, position in before.items())
            middle += 0 < min(after.values()) < last
        assert middle == kills, "the kills came too late to hit a batch"
        async with harness.projector():
            await harness.caught_up(last)
            survived = await harness.hashes()
            await harness.rebuilt()
        assert await harness.hashes() == survived


def test_a_projection_killed_at_random_points_equals_a_rebuild(database: str) -> None:
    run(kill_at_random_points(database, 3), timeout=250)


@pytest.mark.timeout(400)
def test_a_projection_killed_many_times_equals_a_rebuild(database: str) -> None:
    run(kill_at_random_points(database, samples().size(whole=50, sample=12)), timeout=390)


def test_another_process_takes_over_within_about_a_second(database: str) -> None:
    async def check() -> None:
        async with projection_harness(database) as harness, projecting_process(database, 2000) as first:
            await harness.caught_up(await append_all(harness.store, mixed_history(sessions=1)))
            async with harness.projector(holder="second"):
                last = await append_all(harness.store, mixed_history(sessions=1, prefix="b-"))
                await harness.caught_up(last)
                holders = {status.holder for status in await harness.admin.status()}
                assert holders == {f"{next(iter(holders)).rpartition(':')[0]}:{first.pid}"}  # type: ignore[union-attr]
                first.send_signal(signal.SIGKILL)
                killed = time.monotonic()
                last = await append_all(harness.store, mixed_history(sessions=1, prefix="c-"))
                await harness.caught_up(last)
                assert time.monotonic() - killed < 3  # about one, on a machine of its own
                assert {status.holder for status in await harness.admin.status()} == {"second"}

    run(check(), timeout=250)


def test_two_projectors_that_both_believe_to_be_alone_do_not_count_twice(database: str) -> None:
    """The lock saves work, the checkpoint decides: with a lock that everybody gets, the rows are still right."""

    async def check() -> None:
        async with projection_harness(database) as harness:
            async with harness.pool.connection() as connection:
                await connection.execute(
                    "CREATE OR REPLACE FUNCTION projection_lock(projection text, version integer) RETURNS bigint "
                    "LANGUAGE sql VOLATILE AS 'SELECT (random() * 1e15)::bigint'"
                )
            async with (
                harness.projector(page_positions=20, holder="one"),
                harness.projector(page_positions=20, holder="two"),
            ):
                await harness.caught_up(await append_all(harness.store, mixed_history(sessions=10)))
            survived = await harness.hashes()
            async with harness.pool.connection() as connection:
                await connection.execute(
                    "CREATE OR REPLACE FUNCTION projection_lock(projection text, version integer) RETURNS bigint "
                    "LANGUAGE sql IMMUTABLE AS 'SELECT hashtextextended(projection || version, 0)'"
                )
            async with harness.projector():
                await harness.rebuilt(NAMES)
            assert await harness.hashes() == survived

    run(check(), timeout=250)


def test_lost_connections_are_survived(database: str) -> None:
    async def check() -> None:
        async with projection_harness(database) as harness, harness.projector(page_positions=50):
            last = 0
            for number in range(4):
                last = await append_all(harness.store, mixed_history(sessions=2, prefix=f"{number}-"))
                async with harness.pool.connection() as connection:
                    await connection.execute(
                        "SELECT pg_terminate_backend(l.pid) FROM pg_locks l WHERE l.locktype = 'advisory' "
                        "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                    )
            await harness.caught_up(last)
            survived = await harness.hashes()
            await harness.rebuilt()
            assert await harness.hashes() == survived

    run(check(), timeout=250)

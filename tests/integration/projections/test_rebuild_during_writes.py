"""A rebuild beside the live version: no reader ever sees an empty, partial or mixed read model."""

import asyncio
from collections.abc import Sequence

import pytest

from tests.support.async_run import run
from tests.support.mixed_history import append_all, mixed_history
from tests.support.projecting import OPERATOR, ProjectionHarness, projection_harness

pytestmark = pytest.mark.proof


SEEN = """
SELECT v.version, v.position, count(r.key), coalesce(max(r.version), v.version)
FROM projection_versions v LEFT JOIN read_models.runs r ON r.version = v.version
WHERE v.projection = 'runs' AND v.state = 'active'
GROUP BY v.version, v.position
"""
QUEUED = "SELECT count(*) FROM events WHERE type = 'run.queued' AND position <= %s"


def test_readers_never_see_an_empty_or_mixed_read_model(database: str) -> None:
    async def look(harness: ProjectionHarness, done: asyncio.Event) -> list[tuple[int, int, int]]:
        seen = []
        async with harness.pool.connection() as connection:
            while not done.is_set():
                rows = await (await connection.execute(SEEN)).fetchall()
                assert len(rows) == 1
                version, position, count, of_rows = rows[0]
                assert version == of_rows
                seen.append((version, position, count))
        return seen

    async def look_in_old_snapshots(harness: ProjectionHarness, done: asyncio.Event, versions: Sequence[int]) -> int:
        """A snapshot taken before a swap and used after it must still hold the old version, whole."""
        looks = 0
        async with harness.pool.connection() as connection:
            while not done.is_set():
                async with connection.transaction():
                    await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                    first = await (await connection.execute(SEEN)).fetchall()
                    known = len(versions)
                    while len(versions) == known and not done.is_set():
                        await asyncio.sleep(0.01)
                    assert await (await connection.execute(SEEN)).fetchall() == first
                looks += 1
        return looks

    async def check() -> None:
        async with projection_harness(database) as harness:
            done = asyncio.Event()
            async with harness.projector(page_positions=100, rebuild_page_positions=300):
                await harness.caught_up(await append_all(harness.store, mixed_history(sessions=10)))
                async with asyncio.TaskGroup() as tasks:
                    looking = tasks.create_task(look(harness, done))
                    versions: list[int] = []
                    old_snapshots = tasks.create_task(look_in_old_snapshots(harness, done, versions))
                    writing = tasks.create_task(append_all(harness.store, mixed_history(sessions=12, prefix="w-")))
                    for number in range(3):
                        version = await harness.admin.rebuild("runs", by=OPERATOR, command_id=f"r{number}")
                        await harness.status_becomes("runs", version, "active")
                        versions.append(version)
                    await harness.caught_up(await writing)
                    done.set()
            seen = looking.result()
            assert versions == [2, 3, 4]
            assert {version for version, _, _ in seen} >= {3, 4}
            assert old_snapshots.result() > 0
            positions = [position for _, position, _ in seen]
            assert positions == sorted(positions)
            async with harness.pool.connection() as connection:
                for position, count in {(position, count) for _, position, count in seen}:
                    assert await (await connection.execute(QUEUED, (position,))).fetchone() == (count,)

    run(check(), timeout=250)


def test_a_rebuild_that_is_asked_for_twice_is_one(database: str) -> None:
    async def check() -> None:
        async with projection_harness(database) as harness:
            async with harness.projector():
                await harness.caught_up(await append_all(harness.store, mixed_history(sessions=1)))
            first = await harness.admin.rebuild("todos", by=OPERATOR, command_id="1")
            assert await harness.admin.rebuild("todos", by=OPERATOR, command_id="2") == first == 2
            async with harness.projector():
                await harness.status_becomes("todos", 2, "active")
                async with asyncio.timeout(90):
                    while 1 in await harness.status("todos"):  # the old rows are deleted in time
                        await asyncio.sleep(0.05)
            async with harness.pool.connection() as connection:
                rows = await connection.execute("SELECT DISTINCT version FROM read_models.todos")
                assert await rows.fetchall() == [(2,)]

    run(check())

"""Read models as of a position: what they were then, made again out of the log."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest

from infrastructure.postgres.connections import open_pool
from infrastructure.postgres.read_models import past_versions
from infrastructure.postgres.read_models.past_versions import BUILD_SETTINGS, KEPT_VERSIONS, PastVersions
from interfaces.bootstrap.reads import projection_control
from projections.catalogue import PROJECTIONS
from projections.runs import RUNS
from tests.support.async_run import run
from tests.support.mixed_history import append_all, mixed_history
from tests.support.projecting import ProjectionHarness, projection_harness


@asynccontextmanager
async def past_of(harness: ProjectionHarness) -> AsyncIterator[PastVersions]:
    async with await open_pool(harness.dsn, size=3, **BUILD_SETTINGS) as pool:
        past = PastVersions(pool, projection_control(harness.store))
        yield past
        await past.close()


def rows_of(dsn: str, version: int) -> list[tuple[str, str]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(
            "SELECT key, body::text FROM past.runs WHERE version = %s ORDER BY key", (version,)
        ).fetchall()


def test_its_tables_are_those_of_the_read_models(database: str) -> None:
    columns = (
        "SELECT table_name, column_name, data_type, is_nullable, collation_name FROM information_schema.columns "
        "WHERE table_schema = %s AND table_name <> 'versions' ORDER BY table_name, ordinal_position"
    )
    with psycopg.connect(database) as connection:
        present = connection.execute(columns, ("read_models",)).fetchall()
        past = connection.execute(columns, ("past",)).fetchall()

    assert past == present
    assert {row[0] for row in present} == {projection.name for projection in PROJECTIONS}


def test_a_version_holds_what_the_events_up_to_its_position_make_whatever_it_was_built_on(database: str) -> None:
    async def scenario() -> None:
        async with projection_harness(database) as harness, past_of(harness) as past:
            last = await append_all(harness.store, mixed_history(sessions=2, runs_each=2))
            for position in (last // 2, last, 0, last // 3, last // 2 + 1):
                events = [event for event in await harness.store.read_all(limit=10_000) if event.position <= position]
                wanted = sorted((key, RUNS.encode(row).decode()) for key, row in RUNS.fold_all(events).items())
                version = await past.version(RUNS, position)
                assert rows_of(database, version) == wanted
                assert await past.version(RUNS, position) == version

    run(scenario())


def test_many_who_ask_at_once_wait_for_one_build(database: str) -> None:
    async def scenario() -> None:
        async with projection_harness(database) as harness, past_of(harness) as past, past_of(harness) as elsewhere:
            last = await append_all(harness.store, mixed_history(sessions=1))
            asked = [past.version(RUNS, last) for _ in range(10)] + [elsewhere.version(RUNS, last) for _ in range(10)]
            assert len(set(await asyncio.gather(*asked))) == 1

    run(scenario())


def test_only_so_many_are_kept(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past_versions, "UNUSED_AFTER", "0s")

    async def scenario() -> None:
        async with projection_harness(database) as harness, past_of(harness) as past:
            last = await append_all(harness.store, mixed_history(sessions=1))
            for position in range(last - 20, last):
                await past.version(RUNS, position)

    run(scenario())

    with psycopg.connect(database) as connection:
        kept = connection.execute("SELECT count(*) FROM past.versions").fetchone()
        left = connection.execute("SELECT count(DISTINCT version) FROM past.runs").fetchone()
    assert kept == (KEPT_VERSIONS,)
    assert left is not None
    assert left[0] <= KEPT_VERSIONS

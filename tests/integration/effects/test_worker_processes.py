"""Processes that work say that they live and what they find down; `/ready` of any process shows it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from application.operations.presence import Presence
from application.outages import DOCKER, Outages, model_of
from application.ports.worker_runtime import RuntimeDown
from infrastructure.operations.readiness import ModelsReadiness, OutageReadiness, WorkersReadiness
from infrastructure.postgres.connections import Pool, open_pool
from infrastructure.postgres.worker_processes import PostgresWorkerProcesses
from tests.support.async_run import run

pytestmark = pytest.mark.every_postgres


@asynccontextmanager
async def worker_processes(dsn: str) -> AsyncIterator[tuple[PostgresWorkerProcesses, Pool]]:
    pool = await open_pool(dsn, size=2)
    try:
        yield PostgresWorkerProcesses(pool), pool
    finally:
        await pool.close()


def test_a_process_that_works_is_alive_until_it_ends_or_falls_silent(database: str) -> None:
    async def scene() -> None:
        async with worker_processes(database) as (processes, pool):
            workers = WorkersReadiness(processes, here=False)
            with pytest.raises(RuntimeError, match="start `fleetlog worker`"):
                await workers.check()
            assert await WorkersReadiness(processes, here=True).check() == "1 alive"
            for owner in ("w1", "w2", "w1"):
                await processes.seen(owner, {})
            assert await workers.check() == "2 alive"
            await processes.ended("w1")
            assert await workers.check() == "1 alive"
            async with pool.connection() as connection:
                await connection.execute("UPDATE worker_processes SET seen_at = seen_at - interval '31 seconds'")
            with pytest.raises(RuntimeError, match="no process works"):
                await workers.check()

    run(scene())


def test_what_any_process_finds_down_is_shown_and_what_all_do_is_not_ready(database: str) -> None:
    async def scene() -> None:
        async with worker_processes(database) as (processes, _):
            docker, models = OutageReadiness(DOCKER, processes), ModelsReadiness(processes)
            await processes.seen("w1", {})
            assert (await docker.check(), await models.check()) == ("nobody finds it down", "nobody finds one down")
            await processes.seen("w2", {DOCKER: "no such socket", model_of("codex-cli"): "overloaded\0" + "x" * 9999})
            assert await docker.check() == "down for 1 of 2 working processes: no such socket"
            await processes.seen("w1", {DOCKER: "no such socket"})
            with pytest.raises(RuntimeError, match="down for 2 of 2 working processes: no such socket"):
                await docker.check()
            assert (await models.check()).startswith("the model of codex-cli is down: overloaded")

    run(scene())


async def until(processes: PostgresWorkerProcesses, alive: list[dict[str, str]]) -> None:
    async with asyncio.timeout(60):
        while await processes.alive() != alive:
            await asyncio.sleep(0.01)


def test_a_process_lives_whatever_goes_wrong_while_it_looks_at_its_runtime(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    looks: list[str] = []

    async def fails() -> None:
        looks.append("look")
        raise KeyError("unexpected")

    async def scene() -> None:
        async with worker_processes(database) as (processes, _):
            presence = Presence(processes=processes, outages=Outages(), check_runtime=fails, owner="w", interval_s=0.01)
            task = asyncio.create_task(presence.run())
            async with asyncio.timeout(60):
                while len(looks) < 3 or await processes.alive() != [{}]:
                    await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    run(scene())
    said = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert said == ["it can't be told whether the worker runtime can be reached"]


def test_an_idle_process_finds_its_runtime_down_says_so_and_says_when_it_ends(database: str) -> None:
    class Runtime:
        down = True

        async def check(self) -> None:
            if self.down:
                raise RuntimeDown("no such socket")

    async def scene() -> None:
        async with worker_processes(database) as (processes, _):
            runtime = Runtime()
            presence = Presence(
                processes=processes, outages=Outages(), check_runtime=runtime.check, owner="w", interval_s=0.01
            )
            task = asyncio.create_task(presence.run())
            await until(processes, [{DOCKER: "no such socket"}])
            runtime.down = False
            await until(processes, [{}])
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert await processes.alive() == []

    run(scene())

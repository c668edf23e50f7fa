"""One process of the control plane, with all its background tasks, whose runs wait for a person at an executor over
HTTP. Arguments: DSN EXECUTOR_URL WAITING FRESH. Prints what a waiting run costs in memory, and how long fresh runs take
from their claim to their agent's start while none waits and while all do."""

import asyncio
import ctypes
import gc
import sys
import tempfile
from pathlib import Path

import httpx
import msgspec
import uvloop

from application.command_context import CommandContext
from domain.run.values import Message, RunSpec
from domain.session.commands import ActivateSession
from infrastructure.object_store.location import S3Location
from infrastructure.postgres.migrations import migrate
from interfaces.bootstrap import control_plane as composition
from interfaces.bootstrap.background_tasks import background_tasks
from interfaces.bootstrap.backing import BackingServices
from interfaces.bootstrap.control_plane import ControlPlane
from interfaces.settings_reading import load_settings
from tests.support.memory import resident_bytes

NOWHERE = S3Location(endpoint="http://stub", bucket="b", region="r", access_key="a", secret_key="s")
SESSIONS = 16
RATE = 50.0
"""Fresh runs a second: far below what a process can do, so that no run waits for another."""
QUEUED_AT_ONCE = 16
CALM_S = 15.0
"""The looks at runs that have just been parked are over by then, but for one in a while."""
IN_STATE = "SELECT count(*) FROM run_queue WHERE state = %(state)s"
CLAIMS = "SELECT stream, occurred_at FROM events WHERE type = 'run.claimed' AND stream LIKE %(prefix)s"
_libc = ctypes.CDLL(None)


class Measured(msgspec.Struct, frozen=True):
    """`memory`: bytes of each waiting run. `alone`, `beside`: milliseconds from claim to start of each fresh run."""

    memory: float
    alone: list[float]
    beside: list[float]


def context(command_id: str) -> CommandContext:
    return CommandContext(actor="bench", command_id=command_id, correlation_id=command_id)


def spec(session_id: str, message: str) -> RunSpec:
    return RunSpec(
        session_id=session_id,
        user_login_name="bench",
        provider="scripted",
        provider_options={"interactive": True, "script": ":"},
        messages=(Message(role="user", content=message),),
    )


def memory() -> int:
    """Of this process, without what is free but not given back."""
    gc.collect()
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)
    return resident_bytes()


class Bench:
    def __init__(self, plane: ControlPlane, executor: str) -> None:
        self._plane, self._executor = plane, executor

    async def measured(self, waiting: int, fresh: int) -> Measured:
        for number in range(SESSIONS):
            await self._plane.session_commands.activate(
                ActivateSession(
                    session_id=f"fresh-{number}", app_id="default", project_name="default", user_login_name="bench"
                ),
                context(f"activate/{number}"),
                wait_s=60,
            )
        await self._fresh("warm", max(fresh // 4, SESSIONS))
        alone = await self._fresh("alone", fresh)
        before = memory()
        slots = asyncio.Semaphore(QUEUED_AT_ONCE)

        async def queue(number: int) -> None:
            async with slots:
                run_id = f"waits-{number}"
                await self._plane.run_commands.queue(run_id, spec(run_id, "ask"), context(f"queue/{run_id}"))

        await asyncio.gather(*(queue(number) for number in range(waiting)))
        await self._until(waiting, IN_STATE, {"state": "waiting"})
        await asyncio.sleep(CALM_S)
        after = memory()
        beside = await self._fresh("beside", fresh)
        await self._goes_on("waits-0")
        return Measured((after - before) / waiting, alone, beside)

    async def _fresh(self, name: str, number: int) -> list[float]:
        """Runs that end at once, one after the other in sessions that are up."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        for index in range(number):
            await asyncio.sleep(began + index / RATE - loop.time())
            run_id = f"{name}-{index}"
            await self._plane.run_commands.queue(
                run_id, spec(f"fresh-{index % SESSIONS}", "end"), context(f"q/{run_id}")
            )
        for index in range(number):
            ended = await self._plane.run_commands.wait_for_end(f"{name}-{index}", 60)
            assert ended is not None, f"{name}-{index} did not end"
        async with httpx.AsyncClient(trust_env=False) as client:
            begun = (await client.get(f"{self._executor}/begun")).json()
        async with self._plane.queue._pool.connection() as connection:
            rows = await (await connection.execute(CLAIMS, {"prefix": f"run:{name}-%"})).fetchall()
        return [(begun[stream.removeprefix("run:")] - at.timestamp()) * 1000 for stream, at in rows]

    async def _until(self, number: int, statement: str, arguments: dict[str, str]) -> None:
        async with asyncio.timeout(600):
            while True:
                async with self._plane.queue._pool.connection() as connection:
                    row = await (await connection.execute(statement, arguments)).fetchone()
                if row is not None and row[0] >= number:
                    return
                await asyncio.sleep(0.2)

    async def _goes_on(self, run_id: str) -> None:
        """A run that has waited all the time goes on to its end."""
        await self._plane.run_commands.reply(run_id, "q", "yes", context("reply"), wait_s=30)
        ended = await self._plane.run_commands.wait_for_end(run_id, 60)
        assert ended is not None, f"{run_id} did not go on"
        assert ended.state is not None
        assert ended.state.public_state == "succeeded", ended.state.public_state


async def measure(dsn: str, executor: str, waiting: int, fresh: int) -> Measured:
    await migrate(dsn)
    with tempfile.TemporaryDirectory() as home:
        settings = load_settings(
            {
                "FLEETLOG_HOME": str(Path(home)),
                "EXECUTOR_BASE_URL": executor,
                "EXECUTOR_AUTH_TOKEN": "t",
                "MAX_WORKERS": str(waiting + SESSIONS),
                "MAX_STARTING": "16",
            }
        )
        backing = BackingServices(
            settings=settings,
            dsn=dsn,
            object_store=NOWHERE,
            installation="bench",
            secret=b"bench",
        )
        async with composition.control_plane(backing) as plane:
            tasks = [asyncio.create_task(work) for work in background_tasks(plane).values()]
            try:
                return await Bench(plane, executor).measured(waiting, fresh)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks, timeout=10)


if __name__ == "__main__":
    measured = uvloop.run(measure(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
    sys.stdout.write(msgspec.json.encode(measured).decode() + "\n")

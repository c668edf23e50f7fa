"""The supervisor of a user's projection: how it ends, and what it says of a process that waits."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from application.operations.consumer_control import UserProjectionControl
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from infrastructure.system_clock import now
from infrastructure.user_projections.projection_process import CHANNEL
from infrastructure.user_projections.supervisor import UserProjectionSupervisor
from tests.support.async_run import run
from tests.support.user_projection import PATIENCE_S, ProjectCommand, rows, until

PROCESS = """
import json, pathlib, socket, sys, time

channel = socket.socket(fileno=int(sys.argv[1])).makefile("rwb")

def tell(**message):
    channel.write(json.dumps(message).encode() + b"\\n")
    channel.flush()

def told(name):
    while not pathlib.Path(name).exists():
        time.sleep(0.02)

tell(type="described", name="Scripted", topics=["run.queued"], view_class="none:None")
channel.readline()
tell(type="progress", position=0)
if not pathlib.Path("lived").exists():
    pathlib.Path("lived").touch()
    tell(type="blocked", position=5, event_type="run.queued", error="E: newer", newer=True)
    sys.exit(0)
tell(type="progress", position=3)
told("past")
tell(type="progress", position=6)
channel.read(1)
"""


@asynccontextmanager
async def supervised(dsn: str) -> AsyncIterator[asyncio.Task[None]]:
    """A supervisor that runs PROCESS."""
    async with GroupCommitEventStore(dsn) as store:
        supervisor = UserProjectionSupervisor(
            dsn=dsn,
            control=UserProjectionControl(store=store, clock=now, names=()),
            command=(sys.executable, "-c", PROCESS, CHANNEL),
            projection_class="scripted:Scripted",
            schema="projections",
            environment=os.environ,
            holder="test",
        )
        await supervisor.describe()
        task = asyncio.create_task(supervisor.run())
        yield task
        task.cancel()
        await asyncio.wait({task}, timeout=PATIENCE_S)


async def row_with(dsn: str, position: int) -> str:
    """The status that is shown with that position."""
    async with asyncio.timeout(PATIENCE_S):
        while not (found := rows(dsn, f"SELECT status FROM user_projections WHERE position = {position}")):
            await asyncio.sleep(0.02)
    return str(found[0]["status"])


def test_one_that_waits_runs_again_once_it_has_passed_the_event(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    async def check() -> None:
        async with supervised(database):
            assert await row_with(database, 3) == "waiting"
            (tmp_path / "past").touch()
            assert await row_with(database, 6) == "running"

    run(check())


def test_it_ends_when_it_is_cancelled_while_its_connection_is_lost(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    async def check() -> None:
        async with supervised(database) as task:
            await row_with(database, 3)
            # In one step of the loop, so that the supervisor has not seen the loss when it is cancelled.
            with psycopg.connect(database, autocommit=True, connect_timeout=60) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid, 60000) FROM pg_locks WHERE locktype = 'advisory' AND granted "
                    "AND pid <> pg_backend_pid() AND database = (SELECT oid FROM pg_database "
                    "WHERE datname = current_database())"
                )
            task.cancel()
            await asyncio.wait({task}, timeout=PATIENCE_S)
            assert task.cancelled()

    run(check())


def test_ctrl_c_ends_the_command_while_its_database_is_away(database: str, tmp_path: Path) -> None:
    name = conninfo_to_dict(database)["dbname"]
    with ProjectCommand(database, tmp_path) as project:
        project.becomes("running")
        child = project.child()
        beside = make_conninfo(database, dbname="postgres")
        with psycopg.connect(beside, autocommit=True, connect_timeout=60) as connection:
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'.encode())
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        until(lambda: "lost its database" in project.log(), project.log)
        assert project.stop(signal.SIGINT) == 0
        assert not Path(f"/proc/{child}/exe").exists()

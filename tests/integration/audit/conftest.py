"""A log with sessions and runs, projected, and its audit."""

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from psycopg.conninfo import conninfo_to_dict

from infrastructure.audit.log_audit import PostgresLogAudit
from infrastructure.postgres.connections import open_pool
from infrastructure.postgres.read_models.past_versions import BUILD_SETTINGS, PastVersions
from interfaces.bootstrap.reads import projection_control
from tests.support.async_run import run
from tests.support.fleetlog_server import REPOSITORY
from tests.support.mixed_history import append_all, mixed_history
from tests.support.projecting import ProjectionHarness, projection_harness
from tests.support.servers import PostgresServer

SECRET = b"the secret of this installation"


def url_of(dsn: str) -> str:
    """The DSN as a URL; its host is the folder of a socket."""
    parts = {name: quote(str(value), safe="") for name, value in conninfo_to_dict(dsn).items()}
    others = "&".join(f"{name}={value}" for name, value in parts.items() if name != "dbname")
    return f"postgresql:///{parts['dbname']}?{others}"


def offline(*files: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", str(REPOSITORY / "script/verify-log"), *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


@asynccontextmanager
async def audit_of(harness: ProjectionHarness, *, secret: bytes = SECRET) -> AsyncIterator[PostgresLogAudit]:
    async with await open_pool(harness.dsn, size=2, **BUILD_SETTINGS) as pool:
        past = PastVersions(pool, projection_control(harness.store))
        yield PostgresLogAudit(
            harness.dsn, harness.pool, past, secret=secret, installation="here", clock=lambda: datetime.now(UTC)
        )
        await past.close()


@pytest.fixture(scope="session")
def written_log(postgres_server: PostgresServer) -> str:
    """The name of a database with a log that is projected; a template for others."""
    dsn = postgres_server.create_log()

    async def write() -> None:
        async with projection_harness(dsn) as harness, harness.projector():
            await harness.caught_up(await append_all(harness.store, mixed_history(sessions=3, runs_each=2)))

    run(write())
    return str(conninfo_to_dict(dsn)["dbname"])


@pytest.fixture
def log(postgres_server: PostgresServer, written_log: str) -> Iterator[str]:
    """The DSN of a copy of the written log: this test's own, to be tampered with."""
    dsn = postgres_server.create_database(template=written_log)
    yield dsn
    postgres_server.drop_database(dsn)

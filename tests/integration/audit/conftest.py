"""A log with sessions and runs, projected, and its audit."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import psycopg
import pytest

from infrastructure.audit.log_audit import PostgresLogAudit
from infrastructure.postgres.connections import open_pool
from infrastructure.postgres.read_models.past_versions import BUILD_SETTINGS, PastVersions
from interfaces.bootstrap.reads import projection_control
from tests.support.async_run import run
from tests.support.mixed_history import append_all, mixed_history
from tests.support.projecting import ProjectionHarness, projection_harness
from tests.support.servers import PostgresServer

SECRET = b"the secret of this installation"


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
    return str(psycopg.conninfo.conninfo_to_dict(dsn)["dbname"])


@pytest.fixture
def log(postgres_server: PostgresServer, written_log: str) -> Iterator[str]:
    """The DSN of a copy of the written log: this test's own, to be tampered with."""
    dsn = postgres_server.create_database(template=written_log)
    yield dsn
    postgres_server.drop_database(dsn)

"""A real Postgres for this folder, until the suite-wide server fixture takes its place."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from infrastructure.postgres.migrations import migrate
from tests.support.throwaway_postgres import PostgresServer


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    folder = Path(tempfile.mkdtemp(prefix="fleetlog-pg-"))
    server = PostgresServer(folder)
    yield server
    server.stop("immediate")
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def migrated_template(postgres_server: PostgresServer) -> str:
    dsn = postgres_server.create_database()
    asyncio.run(migrate(dsn))
    return str(psycopg.conninfo.conninfo_to_dict(dsn)["dbname"])


@pytest.fixture
def database(postgres_server: PostgresServer, migrated_template: str) -> str:
    """The DSN of an empty, migrated database."""
    return postgres_server.create_database(migrated_template)

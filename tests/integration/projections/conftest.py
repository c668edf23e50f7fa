"""A migrated database for each test of the projections."""

import asyncio

import pytest

from infrastructure.postgres.migrations import migrate


@pytest.fixture
def migrated(database: str) -> str:
    """The DSN of a database with Fleetlog's schema and an empty log."""
    asyncio.run(migrate(database))
    return database

"""The administration of projections for a command beside a running server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from infrastructure.eventstore.store import GroupCommitEventStore
from infrastructure.postgres.sessions import open_pool
from infrastructure.readmodels.administration import PostgresProjectionAdministration
from interfaces.bootstrap.foundation import reachable_database, refusals
from interfaces.settings import Settings
from projections.ports import ProjectionAdministration


@asynccontextmanager
async def projection_administration(settings: Settings) -> AsyncIterator[ProjectionAdministration]:
    """Raises SettingsError when no server runs, StartRefused when the database can't be used."""
    with refusals():
        dsn = await reachable_database(settings)
        pool = await open_pool(dsn, size=2)
    try:
        async with GroupCommitEventStore(dsn) as store:
            yield PostgresProjectionAdministration(pool, store)
    finally:
        await pool.close()

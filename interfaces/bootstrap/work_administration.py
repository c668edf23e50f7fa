"""The administration of effects and of the run queue for a command beside a running server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from application.work_control import WorkControl
from infrastructure.effects.records import PostgresEffectRecords
from infrastructure.eventstore.store import GroupCommitEventStore
from infrastructure.postgres.sessions import open_pool
from interfaces.bootstrap.control_plane import now
from interfaces.bootstrap.foundation import reachable_database, refusals
from interfaces.settings import Settings


@asynccontextmanager
async def work_administration(settings: Settings) -> AsyncIterator[WorkControl]:
    """Raises SettingsError when no server runs, StartRefused when the database can't be used."""
    with refusals():
        dsn = await reachable_database(settings)
        pool = await open_pool(dsn, size=2)
    try:
        async with GroupCommitEventStore(dsn) as store:
            yield WorkControl(store=store, records=PostgresEffectRecords(pool), clock=now)
    finally:
        await pool.close()

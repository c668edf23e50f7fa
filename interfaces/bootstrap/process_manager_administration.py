"""The administration of process managers for a command beside a running server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from application.process_manager_control import ProcessManagerControls, ProcessManagerRecords
from infrastructure.eventstore.store import GroupCommitEventStore
from infrastructure.postgres.sessions import open_pool
from infrastructure.process_managers.records import PostgresProcessManagerRecords
from interfaces.bootstrap.control_plane import now
from interfaces.bootstrap.foundation import reachable_database, refusals
from interfaces.settings import Settings


@dataclass(frozen=True, kw_only=True)
class ProcessManagerAdministration:
    controls: ProcessManagerControls
    records: ProcessManagerRecords


@asynccontextmanager
async def process_manager_administration(settings: Settings) -> AsyncIterator[ProcessManagerAdministration]:
    """Raises SettingsError when no server runs, StartRefused when the database can't be used."""
    with refusals():
        dsn = await reachable_database(settings)
        pool = await open_pool(dsn, size=2)
    try:
        async with GroupCommitEventStore(dsn) as store:
            yield ProcessManagerAdministration(
                controls=ProcessManagerControls(store=store, clock=now), records=PostgresProcessManagerRecords(pool)
            )
    finally:
        await pool.close()

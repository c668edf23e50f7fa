"""For commands that work on the database and object store of an installation directly, not through the HTTP API.

Unless it says otherwise, everything here raises SettingsError if the embedded servers are needed and don't run, and
StartRefused if the database can't be used.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from application.operations.consumer_control import ProcessManagerControl, UserProjectionControl
from application.operations.operator_commands import OperatorCommands
from application.ports.log_audit import LogAudit
from application.ports.process_manager_records import ProcessManagerRecords
from application.ports.user_projections import UserProjectionRecords
from infrastructure.audit.log_audit import PostgresLogAudit
from infrastructure.boto3_store.session import AwsSession
from infrastructure.embedded.object_store import EmbeddedObjectStore
from infrastructure.embedded.postgres import EmbeddedPostgres
from infrastructure.embedded.secret_file import installation_secret
from infrastructure.object_store.folder_upload import upload_folder
from infrastructure.postgres.connections import Pool, open_pool
from infrastructure.postgres.effect_ledger.records import PostgresEffectRecords
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from infrastructure.postgres.installation import installation_id
from infrastructure.postgres.process_managers.records import PostgresProcessManagerRecords
from infrastructure.postgres.read_models.administration import PostgresProjectionAdministration
from infrastructure.postgres.read_models.past_versions import BUILD_SETTINGS, PastVersions
from infrastructure.postgres.user_projections import PostgresUserProjectionRecords
from infrastructure.system_clock import now
from interfaces.bootstrap.object_store import configured_object_store, object_store_session, open_object_store
from interfaces.bootstrap.reads import projection_control
from interfaces.bootstrap.startup_errors import startup_errors
from interfaces.settings import Settings, SettingsError
from projections.ports import ProjectionAdministration


@dataclass(frozen=True, kw_only=True)
class ProcessManagerAdministration:
    controls: ProcessManagerControl
    records: ProcessManagerRecords


async def running_database(settings: Settings) -> str | None:
    """The DSN of this installation's database; None if it is embedded and not running."""
    if settings.database_url is not None:
        return settings.database_url
    return await EmbeddedPostgres(settings.home).running() if settings.home.exists() else None


async def reachable_database(settings: Settings) -> str:
    """The DSN of this installation's database."""
    with startup_errors():
        return await running_database(settings) or _no_server(settings)


async def running_object_store(settings: Settings) -> AwsSession | None:
    """The object store of this installation, with credentials; None if it is embedded and not running."""
    if not settings.embedded_object_store:
        return await object_store_session(await asyncio.to_thread(configured_object_store, settings))
    access = await EmbeddedObjectStore(settings.home, bucket=settings.bucket).running()
    return await object_store_session(access.location) if access else None


async def push_template(settings: Settings, folder: Path, prefix: str) -> tuple[int, int]:
    """Store a folder as a runtime template, as `upload_folder` says. Raises ObjectStoreError, too."""
    session = await running_object_store(settings) or _no_server(settings)
    with closing(await open_object_store(session)) as store:
        return await asyncio.to_thread(upload_folder, store, folder, prefix)


@dataclass(frozen=True, kw_only=True)
class ProjectionsOfAll:
    """`own`: also retries and skips for those of users."""

    own: ProjectionAdministration
    users: UserProjectionRecords


@asynccontextmanager
async def projection_administration(settings: Settings) -> AsyncIterator[ProjectionsOfAll]:
    async with _database(settings) as (_, store, pool):
        own = PostgresProjectionAdministration(
            pool,
            projection_control(store),
            lambda names: UserProjectionControl(store=store, clock=now, names=names),
        )
        yield ProjectionsOfAll(own=own, users=PostgresUserProjectionRecords(pool))


@asynccontextmanager
async def process_manager_administration(settings: Settings) -> AsyncIterator[ProcessManagerAdministration]:
    async with _database(settings) as (_, store, pool):
        controls = ProcessManagerControl(store=store, clock=now)
        yield ProcessManagerAdministration(controls=controls, records=PostgresProcessManagerRecords(pool))


@asynccontextmanager
async def operator_commands(settings: Settings) -> AsyncIterator[OperatorCommands]:
    """Listing, retrying and dropping effects."""
    async with _database(settings) as (_, store, pool):
        yield OperatorCommands(store=store, records=PostgresEffectRecords(pool), clock=now)


@asynccontextmanager
async def log_audit(settings: Settings) -> AsyncIterator[LogAudit]:
    async with _database(settings) as (dsn, store, pool):
        with startup_errors():
            build_pool = await open_pool(dsn, size=2, **BUILD_SETTINGS)
            installation = await installation_id(dsn)
        past = PastVersions(build_pool, projection_control(store))
        try:
            secret = (settings.secret or installation_secret(settings.home)).encode()
            yield PostgresLogAudit(dsn, pool, past, secret=secret, installation=installation, clock=now)
        finally:
            await past.close()
            await build_pool.close()


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[tuple[str, GroupCommitEventStore, Pool]]:
    with startup_errors():
        dsn = await reachable_database(settings)
        pool = await open_pool(dsn, size=2)
    async with pool, GroupCommitEventStore(dsn) as store:
        yield dsn, store, pool


def _no_server(settings: Settings) -> NoReturn:
    raise SettingsError("FLEETLOG_HOME", f"no server runs on `{settings.home}`; start it with `fleetlog up`.")

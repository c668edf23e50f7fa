"""The services behind a process: Postgres, the object store, the installation's secret; embedded if not configured."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from application.repairs.said import Repairs
from infrastructure.embedded.folder_flush import FolderFlush
from infrastructure.embedded.free_disk import check_free_disk
from infrastructure.embedded.home_lock import HomeLock, prepare_home
from infrastructure.embedded.object_store import EmbeddedObjectStore
from infrastructure.embedded.postgres import EmbeddedPostgres
from infrastructure.embedded.restart_on_exit import restart_on_exit
from infrastructure.embedded.secret_file import installation_secret
from infrastructure.object_store.location import S3Location
from infrastructure.postgres.installation import expire_leases, installation_id
from infrastructure.postgres.migrations import migrate
from infrastructure.runtimes.docker_host import address_for_containers
from interfaces.bootstrap.object_store import configured_object_store
from interfaces.bootstrap.startup_errors import startup_errors
from interfaces.settings import Settings, SettingsError


@dataclass(frozen=True, kw_only=True)
class BackingServices:
    """`dsn`: of a migrated database. `object_store`: the store as this process reaches it; `flush_object_store`: makes
    what it has accepted durable, where a PUT does not. `installation`: the id that all processes on one database share.
    `serves_api`: whether the API is in this process; `works`: whether the background tasks are, which make session
    workers."""

    settings: Settings
    dsn: str = field(repr=False)
    object_store: S3Location
    installation: str
    secret: bytes = field(repr=False)
    serves_api: bool = True
    works: bool = True
    flush_object_store: Callable[[], Awaitable[None]] | None = None


@asynccontextmanager
async def embedded_services(settings: Settings, repairs: Repairs) -> AsyncIterator[BackingServices]:
    """For `fleetlog up`: starts or adopts the servers that are not configured, and stops them at the end. Holds the
    home's lock.

    Raises StartRefused.
    """
    async with AsyncExitStack() as stack:
        with startup_errors():
            home = prepare_home(settings.home)
            check_free_disk(home)
            stack.enter_context(HomeLock(home))
            dsn = settings.database_url or await _start_postgres(settings, stack, repairs)
            if settings.embedded_object_store:
                object_store, flush = await _start_object_store(settings, stack, repairs)
            else:
                flush = None
                object_store = await asyncio.to_thread(configured_object_store, settings)
            secret = settings.secret or installation_secret(home)
            await migrate(dsn)
            if settings.embedded_postgres:
                # Of a predecessor that was killed: whoever holds the home's lock is alone on this database.
                await expire_leases(dsn)
            backing = BackingServices(
                settings=settings,
                dsn=dsn,
                object_store=object_store,
                installation=await installation_id(dsn),
                secret=secret.encode(),
                flush_object_store=flush,
            )
        yield backing


async def _start_postgres(settings: Settings, stack: AsyncExitStack, repairs: Repairs) -> str:
    postgres = EmbeddedPostgres(settings.home)
    dsn = await stack.enter_async_context(postgres)
    await stack.enter_async_context(restart_on_exit(postgres, repairs))
    return dsn


async def _start_object_store(
    settings: Settings, stack: AsyncExitStack, repairs: Repairs
) -> tuple[S3Location, Callable[[], Awaitable[None]]]:
    """The store, and what makes its content durable."""
    if settings.worker_runtime == "docker":
        # Refused now, and not when the first session worker is started.
        await asyncio.to_thread(address_for_containers, os.environ, settings.worker_network)
    server = EmbeddedObjectStore(settings.home, bucket=settings.bucket)
    location = (await stack.enter_async_context(server)).location
    await stack.enter_async_context(restart_on_exit(server, repairs))
    flush = FolderFlush(server.folder)
    stack.callback(flush.close)
    return location, flush.flush


async def configured_services(settings: Settings, *, serves_api: bool) -> BackingServices:
    """For `fleetlog api` and `fleetlog worker`: everything must be configured. Raises SettingsError, StartRefused."""
    if settings.database_url is None:
        raise SettingsError("DATABASE_URL", "it is required here; `fleetlog up` alone brings its own Postgres.")
    if settings.embedded_object_store:
        raise SettingsError(
            "S3_ENDPOINT",
            "it, or S3_BUCKET for a bucket at AWS, is required here; `fleetlog up` alone brings its own S3 server.",
        )
    with startup_errors():
        prepare_home(settings.home)
        await migrate(settings.database_url)
        installation = await installation_id(settings.database_url)
    object_store = await asyncio.to_thread(configured_object_store, settings)
    return BackingServices(
        settings=settings,
        dsn=settings.database_url,
        object_store=object_store,
        installation=installation,
        secret=(settings.secret or "").encode(),
        serves_api=serves_api,
        works=not serves_api,
    )

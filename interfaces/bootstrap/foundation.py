"""What everything stands on: Postgres, the object store, the installation's secret. Embedded where nothing is set."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

import psycopg

import sql
from infrastructure.embedded.errors import EmbeddedServerError
from infrastructure.embedded.home_lock import HomeLock, prepare_home
from infrastructure.embedded.kept_running import kept_running
from infrastructure.embedded.object_store import EmbeddedObjectStore, ObjectStoreAccess
from infrastructure.embedded.postgres import EmbeddedPostgres
from infrastructure.embedded.secret_file import installation_secret
from infrastructure.object_store.location import S3Location
from infrastructure.object_store.s3 import S3ObjectStore
from infrastructure.postgres.migrations import MigrationRefused, migrate
from infrastructure.postgres.sessions import connect
from infrastructure.runtimes.docker_host import ContainersCannotCall, address_for_containers
from infrastructure.runtimes.executor_setup import WorkerObjectStore
from interfaces.errors import StartRefused
from interfaces.settings import Settings, SettingsError, is_loopback


@dataclass(frozen=True, kw_only=True)
class Foundation:
    """`dsn` leads to a migrated database. `object_store` is the store as this process reaches it,
    `worker_object_store` as the workers do. `installation` is the same for all processes on one database.
    `serves_api`: the API is in this process."""

    settings: Settings
    dsn: str = field(repr=False)
    object_store: WorkerObjectStore
    worker_object_store: WorkerObjectStore
    installation: str
    secret: bytes = field(repr=False)
    serves_api: bool = True


@asynccontextmanager
async def embedded_foundation(settings: Settings) -> AsyncIterator[Foundation]:
    """For `fleetlog up`: starts, or adopts, what is not configured, and stops it at the end. Holds the home's lock.

    Raises StartRefused.
    """
    async with AsyncExitStack() as stack:
        with refusals():
            foundation = await _start_embedded(settings, stack)
        yield foundation


async def _start_embedded(settings: Settings, stack: AsyncExitStack) -> Foundation:
    home = prepare_home(settings.home)
    stack.enter_context(HomeLock(home))
    if settings.embedded_postgres:
        postgres = EmbeddedPostgres(home)
        dsn = await stack.enter_async_context(postgres)
        await stack.enter_async_context(kept_running(postgres))
    else:
        dsn = settings.database_url or ""
    if settings.embedded_object_store:
        gateway = await _gateway(settings)
        server = EmbeddedObjectStore(home, bucket=settings.s3_bucket, also_on=gateway)
        object_store = _embedded_object_store(await stack.enter_async_context(server))
        await stack.enter_async_context(kept_running(server))
        worker_object_store = replace(object_store, endpoint=server.endpoint_on(gateway)) if gateway else object_store
    else:
        object_store = worker_object_store = _configured_object_store(settings)
    secret = settings.secret or installation_secret(home)
    await migrate(dsn)
    if settings.embedded_postgres:
        await _expire_leases(dsn)
    return Foundation(
        settings=settings,
        dsn=dsn,
        object_store=object_store,
        worker_object_store=worker_object_store,
        installation=await installation_of(dsn),
        secret=secret.encode(),
    )


async def _gateway(settings: Settings) -> str | None:
    """Where the embedded S3 server must listen too, so that workers reach it; None when loopback does."""
    if settings.worker_runtime != "docker":
        return None
    return await asyncio.to_thread(address_for_containers, os.environ)


async def installation_of(dsn: str) -> str:
    """The id that all processes on this database share."""
    async with await connect(dsn) as connection:
        row = await (await connection.execute(sql.query("installation_id"))).fetchone()
    return str(row[0]) if row else ""


async def _expire_leases(dsn: str) -> None:
    """Take over at once what a killed predecessor held: under the home's lock nobody else uses its own database."""
    async with await connect(dsn) as connection:
        await connection.execute(sql.query("expire_leases"))


async def configured_foundation(settings: Settings) -> Foundation:
    """For `fleetlog api` and `fleetlog worker`, any number of each: everything is configured. Raises SettingsError."""
    if settings.database_url is None:
        raise SettingsError("DATABASE_URL", "it is required here; `fleetlog up` alone brings its own Postgres.")
    if settings.s3_endpoint is None:
        raise SettingsError("S3_ENDPOINT", "it is required here; `fleetlog up` alone brings its own S3 server.")
    with refusals():
        prepare_home(settings.home)
        await migrate(settings.database_url)
        installation = await installation_of(settings.database_url)
    object_store = _configured_object_store(settings)
    return Foundation(
        settings=settings,
        dsn=settings.database_url,
        object_store=object_store,
        worker_object_store=object_store,
        installation=installation,
        secret=(settings.secret or "").encode(),
    )


async def migrate_database(dsn: str) -> list[str]:
    """Bring a database to this version's schema; the names of what was applied. Raises StartRefused."""
    with refusals():
        return await migrate(dsn)


@contextmanager
def refusals() -> Iterator[None]:
    """What keeps the system from starting, said to people."""
    try:
        yield
    except (EmbeddedServerError, MigrationRefused, ContainersCannotCall) as error:
        raise StartRefused(str(error)) from error
    except psycopg.OperationalError as error:
        raise StartRefused(f"the database can't be used: {error}") from error


async def reachable_database(settings: Settings) -> str:
    """The DSN of this installation's database, for a command beside a running server. Raises SettingsError."""
    if settings.database_url is not None:
        return settings.database_url
    dsn = await EmbeddedPostgres(settings.home).running()
    if dsn is None:
        raise _nothing_runs(settings)
    return dsn


def _nothing_runs(settings: Settings) -> SettingsError:
    return SettingsError("FLEETLOG_HOME", f"no server runs on `{settings.home}`; start it with `fleetlog up`.")


async def reachable_object_store(settings: Settings) -> WorkerObjectStore:
    """The object store of this installation, for a command beside a running server; never stops it.

    Raises SettingsError when it is embedded and not running.
    """
    if not settings.embedded_object_store:
        return _configured_object_store(settings)
    access = await EmbeddedObjectStore(settings.home, bucket=settings.s3_bucket).running()
    if access is None:
        raise _nothing_runs(settings)
    return _embedded_object_store(access)


def open_object_store(access: WorkerObjectStore) -> S3ObjectStore:
    """The store itself; nothing is asked of it before its first use."""
    return S3ObjectStore(
        S3Location(
            endpoint=access.endpoint,
            bucket=access.bucket,
            region=access.region,
            access_key=access.access_key,
            secret_key=access.secret_key,
        )
    )


def _embedded_object_store(access: ObjectStoreAccess) -> WorkerObjectStore:
    return WorkerObjectStore(
        endpoint=access.endpoint,
        bucket=access.bucket,
        region=access.region,
        access_key=access.access_key_id,
        secret_key=access.secret_access_key,
    )


def _configured_object_store(settings: Settings) -> WorkerObjectStore:
    host = urlsplit(settings.s3_endpoint or "").hostname or ""
    if settings.worker_runtime == "docker" and is_loopback(host):
        raise SettingsError(
            "S3_ENDPOINT",
            f"`{settings.s3_endpoint}` means the container itself inside a container (WORKER_RUNTIME=docker); "
            "name an address at which both this process and containers reach the server.",
        )
    return WorkerObjectStore(
        endpoint=settings.s3_endpoint or "",
        bucket=settings.s3_bucket,
        region=settings.s3_region,
        access_key=settings.aws_access_key_id or "",
        secret_key=settings.aws_secret_access_key or "",
    )


def process_owner(settings: Settings) -> str:
    """The name under which this process claims work: unique among all processes of an installation."""
    return settings.run_queue_owner or f"{os.uname().nodename}-{os.getpid()}"

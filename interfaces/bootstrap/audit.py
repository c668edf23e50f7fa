"""The audit of the log for a command beside a running server."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from application.audit import LogAudit
from infrastructure.audit.log_audit import PostgresLogAudit
from infrastructure.embedded.secret_file import installation_secret
from infrastructure.eventstore.store import GroupCommitEventStore
from infrastructure.postgres.sessions import open_pool
from infrastructure.projector.controls import ProjectionControls
from infrastructure.readmodels.past_versions import BUILD_SETTINGS, PastVersions
from interfaces.bootstrap.control_plane import now
from interfaces.bootstrap.foundation import installation_of, reachable_database, refusals
from interfaces.settings import Settings


@asynccontextmanager
async def log_audit(settings: Settings) -> AsyncIterator[LogAudit]:
    """Raises SettingsError when no server runs, StartRefused when the database can't be used."""
    async with AsyncExitStack() as stack:
        with refusals():
            dsn = await reachable_database(settings)
            pool = await open_pool(dsn, size=2)
            stack.push_async_callback(pool.close)
            build_pool = await open_pool(dsn, size=2, **BUILD_SETTINGS)
            stack.push_async_callback(build_pool.close)
            installation = await installation_of(dsn)
        store = await stack.enter_async_context(GroupCommitEventStore(dsn))
        past = PastVersions(build_pool, ProjectionControls(store))
        stack.push_async_callback(past.close)
        secret = settings.secret or installation_secret(settings.home)
        yield PostgresLogAudit(dsn, pool, past, secret=secret.encode(), installation=installation, clock=now)

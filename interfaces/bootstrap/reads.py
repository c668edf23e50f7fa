"""Composes the read side of one process: read models, waiting for them, the projector and its administration."""

from contextlib import AsyncExitStack
from dataclasses import dataclass

from application.operations.consumer_control import ProjectionControl
from application.ports.event_store import EventStore
from infrastructure.postgres.connections import open_pool
from infrastructure.postgres.continuity import LogContinuity
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from infrastructure.postgres.listener import PostgresListener
from infrastructure.postgres.projector.projector import Projector
from infrastructure.postgres.read_models.administration import PostgresProjectionAdministration
from infrastructure.postgres.read_models.past_versions import BUILD_SETTINGS, PastVersions
from infrastructure.postgres.read_models.progress import PostgresProjectionProgress
from infrastructure.postgres.read_models.read_models import PostgresReadModels
from infrastructure.system_clock import now
from projections.catalogue import PROJECTIONS

POOL_SIZE = 8
PAST_POOL_SIZE = 3


@dataclass(frozen=True, kw_only=True)
class ReadSide:
    models: PostgresReadModels
    progress: PostgresProjectionProgress
    administration: PostgresProjectionAdministration
    past: PastVersions
    projector: Projector


def projection_control(store: EventStore) -> ProjectionControl:
    """The control of this code's projections; one for each process."""
    names = [projection.name for projection in PROJECTIONS]
    return ProjectionControl(store=store, clock=now, names=names)


async def open_reads(
    dsn: str,
    store: GroupCommitEventStore,
    listener: PostgresListener,
    holder: str,
    stack: AsyncExitStack,
    continuity: LogContinuity,
) -> ReadSide:
    """What must be closed later is entered into `stack`. `holder`: this process's name in the table of projections."""
    pool = await open_pool(dsn, size=POOL_SIZE)
    stack.push_async_callback(pool.close)
    build_pool = await open_pool(dsn, continuity, size=PAST_POOL_SIZE, **BUILD_SETTINGS)
    stack.push_async_callback(build_pool.close)
    control = projection_control(store)
    past = PastVersions(build_pool, control)
    stack.push_async_callback(past.close)
    return ReadSide(
        models=PostgresReadModels(pool, past),
        progress=await stack.enter_async_context(PostgresProjectionProgress(pool, listener)),
        administration=PostgresProjectionAdministration(pool, control),
        past=past,
        projector=Projector(dsn, control=control, end_of_log=listener.position, holder=holder, continuity=continuity),
    )

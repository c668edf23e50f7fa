"""The HTTP API of one process, with its collaborators."""

from contextlib import AsyncExitStack

import psycopg
from psycopg_pool import PoolTimeout
from starlette.applications import Starlette

from application.callback_tokens import DerivedCallbackTokens
from application.fork_sessions import ForkSessions
from infrastructure.audit.log_audit import PostgresLogAudit, WalkFailed
from infrastructure.eventstore.group_commit import EventStoreClosed, EventStoreUnavailable
from infrastructure.idempotency.keys import PostgresIdempotencyKeys
from infrastructure.postgres.sessions import open_pool
from infrastructure.readmodels.history import PostgresHistory
from infrastructure.readmodels.past import UnreadableEvent
from infrastructure.search.event_search import PostgresEventSearch
from infrastructure.search.why import PostgresCausality
from infrastructure.workspace.recorded import S3RecordedWorkspaces
from interfaces.bootstrap.control_plane import ControlPlane, new_id, now
from interfaces.bootstrap.foundation import open_object_store
from interfaces.bootstrap.operations import (
    DatabaseReady,
    ObjectStoreReady,
    PlaneMetrics,
    PlaneQueue,
    PlaneReconcilers,
    ProcessManagersReady,
    ProjectionsReady,
    StreamsReady,
)
from interfaces.bootstrap.residents import scheduled
from interfaces.http.app import create_app
from interfaces.http.auth import KeyHash
from interfaces.http.dependencies import ApiDependencies

POOL_SIZE = 8


async def api_application(plane: ControlPlane, stack: AsyncExitStack) -> Starlette:
    """What must be closed is left to `stack`."""
    foundation = plane.foundation
    settings = foundation.settings
    pool = await open_pool(foundation.dsn, size=POOL_SIZE)
    stack.push_async_callback(pool.close)
    objects = open_object_store(foundation.object_store)
    queue = PlaneQueue(plane)
    return create_app(
        ApiDependencies(
            sessions=plane.session_commands,
            runs=plane.run_commands,
            forks=ForkSessions(
                runs=plane.runs,
                sessions=plane.sessions,
                store=plane.store,
                tail=plane.hub,
                recorded=S3RecordedWorkspaces(objects),
                providers=plane.providers,
            ),
            callbacks=plane.callbacks,
            queue=queue,
            work=plane.work_control,
            process_managers=plane.process_managers,
            process_manager_records=plane.process_manager_records,
            reconcilers=PlaneReconcilers(plane.run_worker, scheduled(plane), plane.findings),
            store=plane.store,
            reads=plane.reads.models,
            history=PostgresHistory(pool),
            audit=PostgresLogAudit(
                foundation.dsn,
                pool,
                plane.reads.past,
                secret=foundation.secret,
                installation=foundation.installation,
                clock=now,
            ),
            recorded_workspaces=S3RecordedWorkspaces(objects),
            progress=plane.reads.progress,
            streams=plane.hub,
            search=PostgresEventSearch(pool),
            causality=PostgresCausality(pool),
            idempotency_keys=PostgresIdempotencyKeys(pool),
            callback_tokens=DerivedCallbackTokens(runs=plane.runs, sessions=plane.sessions, secret=foundation.secret),
            readiness=(
                DatabaseReady(pool),
                ObjectStoreReady(objects),
                ProjectionsReady(plane.reads.administration),
                ProcessManagersReady(plane.process_manager_records),
                StreamsReady(plane.hub),
            ),
            metrics=PlaneMetrics(plane, pool),
            providers=plane.providers,
            new_id=new_id,
            unavailable_errors=(
                EventStoreUnavailable,
                EventStoreClosed,
                UnreadableEvent,
                WalkFailed,
                psycopg.OperationalError,
                PoolTimeout,
            ),
            api_keys=tuple(KeyHash(name=key.name, sha256=key.sha256) for key in settings.api_keys),
            idle_timeout_ms=settings.idle_timeout_ms,
            remove_after_ms=settings.remove_after_ms,
        )
    )

"""Composes the HTTP API of one process."""

from contextlib import AsyncExitStack
from functools import partial

import psycopg
from psycopg_pool import PoolTimeout
from starlette.applications import Starlette

from application.ports.executor import ExecutorError
from application.ports.object_store import ObjectStoreRefused, ObjectStoreUnavailable
from application.ports.worker_runtime import RuntimeUnavailable
from application.runs.callback_tokens import CallbackTokens
from application.runs.forking import ForkSessions
from application.sessions.executor_logs import ExecutorLogs
from infrastructure.audit.log_audit import PostgresLogAudit, WalkFailed
from infrastructure.open_files import allow_many_files
from infrastructure.postgres.connections import open_pool
from infrastructure.postgres.event_store.errors import EventStoreClosed, EventStoreFull, EventStoreUnavailable
from infrastructure.postgres.idempotency_keys import PostgresIdempotencyKeys
from infrastructure.postgres.read_models.history import PostgresHistory
from infrastructure.postgres.read_models.past import UnreadableEvent
from infrastructure.postgres.search.event_search import PostgresEventSearch
from infrastructure.postgres.search.why import PostgresCausality
from infrastructure.stored_workspaces.reading import S3RecordedWorkspaces
from infrastructure.system_clock import new_id, now
from interfaces.bootstrap.control_plane import ControlPlane
from interfaces.bootstrap.operations import metrics, readiness, reconcilers
from interfaces.bootstrap.telemetry import exporting
from interfaces.http.app import create_app
from interfaces.http.edge.auth import KeyHash
from interfaces.http.edge.dependencies import ApiDependencies
from interfaces.http.edge.metrics import RequestMetrics
from interfaces.http.edge.problems import DEPENDENCY_UNAVAILABLE, DISK_FULL
from interfaces.http.edge.rates import CallerRates, RateLimits
from interfaces.http_conventions.problems import StatusAndReason
from interfaces.settings import Settings

POOL_SIZE = 8
OWN_FILES = 1000
"""Open files that are kept for what is no connection of a client: databases, executors, journals, the object store."""
ADAPTER_ERRORS: StatusAndReason = {
    EventStoreFull: DISK_FULL,
    psycopg.errors.DiskFull: DISK_FULL,
    EventStoreUnavailable: DEPENDENCY_UNAVAILABLE,
    EventStoreClosed: DEPENDENCY_UNAVAILABLE,
    UnreadableEvent: DEPENDENCY_UNAVAILABLE,
    WalkFailed: DEPENDENCY_UNAVAILABLE,
    psycopg.OperationalError: DEPENDENCY_UNAVAILABLE,
    PoolTimeout: DEPENDENCY_UNAVAILABLE,
    ObjectStoreUnavailable: (503, "object_store_unavailable"),
    ExecutorError: (503, "executor_unavailable"),
    RuntimeUnavailable: (503, "runtime_unavailable"),
    ObjectStoreRefused: (502, "object_store_refused"),
}


def most_connections(settings: Settings) -> int:
    """How many connections of clients this process may have open."""
    return max(1, min(settings.max_connections, allow_many_files() - OWN_FILES))


async def api_application(plane: ControlPlane, stack: AsyncExitStack) -> Starlette:
    """The ASGI application. What must be closed later is entered into `stack`."""
    backing, settings = plane.backing, plane.backing.settings
    pool = await open_pool(backing.dsn, plane.continuity, size=POOL_SIZE)
    stack.push_async_callback(pool.close)
    recorded = S3RecordedWorkspaces(plane.objects, plane.object_threads)
    source, request_metrics = metrics(plane, pool), RequestMetrics(plane.telemetry.measurements.registry)
    await stack.enter_async_context(exporting(plane.telemetry, partial(request_metrics.families, source)))
    return create_app(
        ApiDependencies(
            sessions=plane.session_commands,
            titles=plane.session_titles,
            executor_logs=ExecutorLogs(plane.session_workers),
            runs=plane.run_commands,
            forks=ForkSessions(
                runs=plane.runs,
                sessions=plane.sessions,
                store=plane.store,
                tail=plane.hub,
                recorded=recorded,
                providers=plane.providers,
            ),
            callbacks=plane.callbacks,
            queue=plane.queue,
            queue_drain=plane.run_worker,
            operator_commands=plane.operator_commands,
            process_managers=plane.process_managers,
            process_manager_records=plane.process_manager_records,
            reconcilers=reconcilers(plane),
            store=plane.store,
            reads=plane.reads.models,
            history=PostgresHistory(pool),
            audit=PostgresLogAudit(
                backing.dsn,
                pool,
                plane.reads.past,
                secret=backing.secret,
                installation=backing.installation,
                clock=now,
            ),
            recorded_workspaces=recorded,
            progress=plane.reads.progress,
            streams=plane.hub,
            search=PostgresEventSearch(pool),
            causality=PostgresCausality(pool),
            idempotency_keys=PostgresIdempotencyKeys(pool),
            callback_tokens=CallbackTokens(runs=plane.runs, sessions=plane.sessions, secret=backing.secret),
            readiness=readiness(plane, pool),
            metrics=source,
            request_metrics=request_metrics,
            spans=plane.telemetry.spans,
            providers=plane.providers,
            new_id=new_id,
            adapter_errors=ADAPTER_ERRORS,
            rates=CallerRates(
                RateLimits(
                    requests_per_s=settings.max_requests_per_second,
                    new_streams_per_s=settings.max_new_streams_per_second,
                    open_streams=settings.max_streams_per_key,
                )
            ),
            api_keys=tuple(KeyHash(name=key.name, sha256=key.sha256) for key in settings.api_keys),
            allowed_origins=settings.allowed_origins,
            idle_timeout_ms=settings.idle_timeout_ms,
            remove_after_ms=settings.remove_after_ms,
        )
    )

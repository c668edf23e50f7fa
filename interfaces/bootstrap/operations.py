"""Composes the operations of a process: reconcilers, their schedule, readiness checks, metrics."""

from datetime import timedelta
from functools import partial

from application.operations.orphans import CleanOrphans
from application.operations.queue_reconciliation import ReconcileRunQueue
from application.operations.reconcilers import Reconcilers
from application.operations.schedule import Schedule
from application.outages import DOCKER
from application.ports.operations import ReadinessCheck
from application.runs.limits import RunLimits
from application.sessions.content_collection import RequestCollections
from infrastructure.operations.metrics import ControlPlaneMetrics, WorkerMetrics
from infrastructure.operations.readiness import (
    DiskReadiness,
    EgressReadiness,
    LogReadiness,
    ModelsReadiness,
    ObjectStoreReadiness,
    OutageReadiness,
    PostgresReadiness,
    ProcessManagersReadiness,
    ProjectionsReadiness,
    StreamsReadiness,
    UserProjectionsReadiness,
    WorkersReadiness,
)
from infrastructure.postgres.connections import Pool
from infrastructure.postgres.installation import server_version
from infrastructure.postgres.user_projections import PostgresUserProjectionRecords
from infrastructure.postgres.work_statistics import PostgresWorkStatistics
from infrastructure.system_clock import new_id, now
from interfaces.bootstrap.control_plane import ControlPlane


def reconcilers(plane: ControlPlane) -> Reconcilers:
    settings, reads, repairs = plane.backing.settings, plane.reads.models, plane.telemetry.repairs
    return Reconcilers(
        sessions=plane.session_commands,
        runs=plane.run_commands,
        stale_runs=plane.run_worker,
        queue_reconciliation=ReconcileRunQueue(
            runs=plane.runs, queue=plane.queue, store=plane.store, reconcile_log=plane.reconcile_log, repairs=repairs
        ),
        candidates=reads,
        questions=reads,
        external_runs=reads,
        external_run_limits=RunLimits(
            run=timedelta(milliseconds=settings.run_timeout_ms),
            silence=timedelta(milliseconds=settings.external_run_silence_timeout_ms),
        ),
        orphans=CleanOrphans(
            sessions=plane.sessions, store=plane.store, runtime=plane.runtime, clock=now, repairs=repairs
        ),
        effects=plane.ledger,
        collections=RequestCollections(
            sessions=plane.sessions,
            candidates=reads,
            clock=now,
            retention=timedelta(milliseconds=settings.workspace_retention_ms),
        ),
        reconcile_log=plane.reconcile_log,
        clock=now,
        stale_sync_after=timedelta(milliseconds=settings.stale_sync_after_ms),
        repairs=repairs,
    )


def schedule(plane: ControlPlane) -> Schedule:
    settings = plane.backing.settings
    return Schedule(
        sessions=plane.session_commands,
        reconcilers=reconcilers(plane),
        new_id=new_id,
        idle_timeout=timedelta(milliseconds=settings.idle_timeout_ms),
        remove_after=timedelta(milliseconds=settings.remove_after_ms),
    )


def readiness(plane: ControlPlane, pool: Pool) -> tuple[ReadinessCheck, ...]:
    settings = plane.backing.settings
    keeps_data = settings.embedded_postgres or settings.embedded_object_store
    return (
        PostgresReadiness(partial(server_version, pool)),
        LogReadiness(plane.store, plane.continuity, plane.listener.position),
        *((DiskReadiness(settings.home.absolute()),) if keeps_data else ()),
        ObjectStoreReadiness(plane.objects, plane.object_threads),
        ProjectionsReadiness(plane.reads.administration),
        ProcessManagersReadiness(plane.process_manager_records),
        UserProjectionsReadiness(PostgresUserProjectionRecords(pool)),
        StreamsReadiness(plane.hub),
        WorkersReadiness(plane.worker_processes, here=plane.backing.works),
        *((OutageReadiness(DOCKER, plane.worker_processes),) if settings.worker_runtime == "docker" else ()),
        ModelsReadiness(plane.worker_processes),
        *((EgressReadiness(plane.runtime.egress),) if settings.in_containers else ()),
    )


def metrics(plane: ControlPlane, pool: Pool) -> ControlPlaneMetrics:
    return ControlPlaneMetrics(
        work=PostgresWorkStatistics(pool),
        projections=plane.reads.administration,
        process_managers=plane.process_manager_records,
        user_projections=PostgresUserProjectionRecords(pool),
        executors=plane.directory,
        streams=plane.hub,
        log=plane.listener,
        workers=plane.worker_processes,
    )


def worker_metrics(plane: ControlPlane) -> WorkerMetrics:
    return WorkerMetrics(plane.directory)

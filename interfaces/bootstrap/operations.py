"""What operators see and start: readiness, metrics, the queue, the reconcilers, the providers."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

import sql
from application.command_context import CommandContext
from application.findings import Findings, few
from application.operations import Gauge, Metric, ReconcileCounts
from application.process_manager_control import ProcessManagerRecords
from application.run_queue import DrainCounts, QueueItem
from application.run_worker import RunWorker
from application.schedule import Schedule
from domain.operations.events import ReconcileFinished
from infrastructure.object_store.s3 import S3ObjectStore
from infrastructure.streams.hub import StreamHub
from interfaces.bootstrap.control_plane import ControlPlane
from projections.ports import EVENT_INDEX, ProjectionAdministration

RECONCILED_AT_ONCE = 100
TAKEOVER_PATIENCE_S = 1.0
Pool = AsyncConnectionPool[AsyncConnection[Any]]


class DatabaseReady:
    name = "postgres"

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def check(self) -> str:
        async with self._pool.connection() as connection:
            row = await (await connection.execute("SHOW server_version")).fetchone()
        return f"Postgres {row[0]}" if row else ""


class ObjectStoreReady:
    name = "object store"

    def __init__(self, store: S3ObjectStore) -> None:
        self._store = store

    async def check(self) -> str:
        await asyncio.to_thread(self._store.head, "readiness")
        return f"{self._store.location.endpoint}/{self._store.location.bucket}"


class ProjectionsReady:
    """Ready while no projection is stopped by an event that it can't apply."""

    name = "projections"

    def __init__(self, administration: ProjectionAdministration) -> None:
        self._administration = administration

    async def check(self) -> str:
        statuses = await self._administration.status()
        for status in statuses:
            if status.state == "active" and status.status != "running":
                raise RuntimeError(
                    f"{status.projection} is {status.status} at position {status.error_position}: {status.error}"
                )
        return (
            f"{len(statuses)} projections, {max((status.lag_events for status in statuses), default=0)} events behind"
        )


class ProcessManagersReady:
    """Ready while no process manager stands still at an event that it can't take."""

    name = "process managers"

    def __init__(self, records: ProcessManagerRecords) -> None:
        self._records = records

    async def check(self) -> str:
        statuses = await self._records.status()
        for status in statuses:
            if status.status != "running":
                raise RuntimeError(
                    f"{status.name} is {status.status} at position {status.error_position}: {status.error}; "
                    f"`fleetlog process-managers retry {status.name}` after mending the cause, or `skip`"
                )
        behind = max((status.lag_events for status in statuses), default=0)
        return f"{len(statuses)} process managers, {behind} events behind"


class StreamsReady:
    name = "streams"

    def __init__(self, hub: StreamHub) -> None:
        self._hub = hub

    async def check(self) -> str:
        if not self._hub.healthy:
            raise RuntimeError("the end of the log can't be followed")
        return f"{self._hub.open_streams} open"


class PlaneMetrics:
    """Implements MetricsSource."""

    def __init__(self, plane: ControlPlane, pool: Pool) -> None:
        self._plane, self._pool = plane, pool

    async def collect(self) -> Sequence[Metric]:
        async with self._pool.connection() as connection:
            counts = await (await connection.execute(sql.query("work_counts"))).fetchall()
            ages = await (await connection.execute(sql.query("work_ages"))).fetchone()
            index = await (await connection.execute(sql.query("search/lag"))).fetchone() or (0, 0.0)
        statuses = [s for s in await self._plane.reads.administration.status() if s.state == "active"]
        managers = await self._plane.process_manager_records.status()
        circuits = self._plane.directory.circuit_states()
        return [
            _gauge(
                "effects",
                "Effects that are not done, by state; dead ones wait for a person.",
                [({"state": state}, count) for work, state, count in counts if work == "effects"],
            ),
            _gauge(
                "queue_depth",
                "Runs that have not ended, by state of their queue row.",
                [({"state": state}, count) for work, state, count in counts if work == "run_queue"],
            ),
            _gauge(
                "projection_lag_events",
                "Events that a read model, or the index of the log, is behind the log.",
                [({"projection": s.projection}, s.lag_events) for s in statuses]
                + [({"projection": EVENT_INDEX}, index[0])],
            ),
            _gauge(
                "projection_lag_seconds",
                "Seconds that a read model, or the index of the log, is behind the log.",
                [({"projection": s.projection}, s.lag_seconds) for s in statuses]
                + [({"projection": EVENT_INDEX}, index[1])],
            ),
            _gauge(
                "projection_stopped",
                "1 for a read model that an event has stopped.",
                [({"projection": s.projection}, float(s.status != "running")) for s in statuses],
            ),
            _gauge(
                "process_manager_lag_events",
                "Events that a process manager is behind the log.",
                [({"process_manager": m.name}, m.lag_events) for m in managers],
            ),
            _gauge(
                "process_manager_lag_seconds",
                "Seconds that a process manager is behind the log.",
                [({"process_manager": m.name}, m.lag_seconds) for m in managers],
            ),
            _gauge(
                "process_manager_stopped",
                "1 for a process manager that stands still at an event that it can't take.",
                [({"process_manager": m.name}, float(m.status != "running")) for m in managers],
            ),
            *_ages(ages or (0.0,) * len(AGES)),
            _gauge("open_streams", "Live event streams of this process.", [({}, self._plane.hub.open_streams)]),
            _gauge(
                "executor_circuits",
                "Executors that were called lately, by the state of their circuit breaker.",
                [
                    ({"state": state}, sum(found == state for found in circuits.values()))
                    for state in ("closed", "half_open", "open")
                ],
            ),
            Metric(
                name="log_position",
                help="Position of the last event of the log.",
                kind="counter",
                samples=(Gauge(labels={}, value=self._plane.listener.position.last_position),),
            ),
        ]


AGES: tuple[tuple[str, str], ...] = (
    ("oldest_due_run_seconds", "How long the oldest run that may be claimed has waited."),
    ("oldest_due_effect_seconds", "How long the oldest effect that may be claimed has waited."),
    ("expired_run_leases", "Runs whose worker has not renewed its lease, and that nobody has taken over yet."),
    ("expired_effect_leases", "Effects whose worker has not renewed its lease, and that nobody has taken over yet."),
    ("open_questions", "Questions that wait for a person."),
    ("failed_sync_workers", "Workers whose last sync failed."),
    ("queue_paused", "1 while the run queue is paused."),
)


def _ages(row: Sequence[Any]) -> list[Metric]:
    return [_gauge(name, text, [({}, float(value))]) for (name, text), value in zip(AGES, row, strict=True)]


def _gauge(name: str, text: str, samples: Sequence[tuple[dict[str, str], float]]) -> Metric:
    return Metric(
        name=name,
        help=text,
        kind="gauge",
        samples=tuple(Gauge(labels=labels, value=float(value)) for labels, value in samples),
    )


class PlaneQueue:
    """Implements QueueControl: this process works the runs that it drains."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    async def drain(
        self, *, owner: str, limit: int, lock_ms: int | None, retry_delay_ms: int | None, wait_s: float
    ) -> DrainCounts:
        settings = self._plane.foundation.settings
        return await self._plane.run_worker.drain(
            owner=owner or self._plane.owner,
            limit=limit,
            lease=timedelta(milliseconds=settings.run_queue_lock_ms if lock_ms is None else lock_ms),
            retry_delay=timedelta(
                milliseconds=settings.run_queue_retry_delay_ms if retry_delay_ms is None else retry_delay_ms
            ),
            wait_s=wait_s,
        )

    async def item(self, run_id: str) -> QueueItem | None:
        return await self._plane.queue.item(run_id)


class PlaneReconcilers:
    """Implements Reconcilers."""

    def __init__(self, worker: RunWorker, schedule: Schedule, findings: Findings) -> None:
        self._worker, self._schedule, self._findings = worker, schedule, findings

    async def runs(self, context: CommandContext, *, wait_s: float) -> ReconcileCounts:
        """Runs whose lease has run out are taken over: their executor is asked first. Those that the queue has lost
        enter it again. And questions whose time is over expire."""
        expired = await self._schedule.expire_questions(context)
        restored = await self._schedule.restore_runs(context)
        # Their ends are not waited for: only long enough to see which of them break off again at once.
        taken = await self._worker.take_over(limit=RECONCILED_AT_ONCE, wait_s=min(wait_s / 2, TAKEOVER_PATIENCE_S))
        finding = ReconcileFinished(
            what="runs",
            examined=len(taken.run_ids),
            acted=len(taken.run_ids) - taken.broken_off,
            failed=taken.broken_off,
            subjects=few(taken.run_ids),
        )
        position = await self._findings.record(finding, context)
        return ReconcileCounts(
            examined=finding.examined + expired.examined + restored.examined,
            acted=finding.acted + expired.acted + restored.acted,
            failed=finding.failed + expired.failed,
            position=max(position, expired.position, restored.position),
        )

    async def sync(self, context: CommandContext, *, wait_s: float) -> ReconcileCounts:
        del wait_s
        return await self._schedule.compensate_syncs(context)

    async def effects(self, context: CommandContext, *, wait_s: float) -> ReconcileCounts:
        del wait_s
        return await self._schedule.free_effects(context)

    async def containers(self, context: CommandContext, *, wait_s: float) -> ReconcileCounts:
        del wait_s
        return await self._schedule.clean_orphans(context)

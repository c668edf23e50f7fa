"""The metrics of the control plane, read on every scrape: work, read models, process managers, streams, executors."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence

from application.ports.operations import Gauge, Metric
from application.ports.process_manager_records import ProcessManagerRecords
from application.ports.user_projections import MOST_COUNTED, UserProjectionRecords, UserProjectionStatus
from application.ports.worker_processes import WorkerProcesses
from domain.operations.log_consumer import describe
from infrastructure.executor_client.directory import HttpExecutorDirectory
from infrastructure.postgres.listener import PostgresListener
from infrastructure.postgres.work_statistics import PostgresWorkStatistics, WorkAges
from infrastructure.streams.hub import StreamHub
from projections.ports import EVENT_INDEX, ProjectionAdministration

USERS_TIMEOUT_S = 3.0
OBSERVATION = "observation"
"""What the observer of the log is called among the projections."""
log = logging.getLogger(__name__)


class ControlPlaneMetrics:
    """Implements MetricsSource."""

    def __init__(
        self,
        *,
        work: PostgresWorkStatistics,
        projections: ProjectionAdministration,
        process_managers: ProcessManagerRecords,
        user_projections: UserProjectionRecords,
        executors: HttpExecutorDirectory,
        streams: StreamHub,
        log: PostgresListener,
        workers: WorkerProcesses,
    ) -> None:
        self._work, self._projections, self._process_managers = work, projections, process_managers
        self._user_projections = user_projections
        self._executors, self._streams, self._log = executors, streams, log
        self._workers = workers

    async def collect(self) -> Sequence[Metric]:
        work = await self._work.read()
        statuses = [s for s in await self._projections.status() if s.state == "active"]
        managers = await self._process_managers.status()
        users = await self._of_users_if_known()
        alive = await self._workers.alive()
        down = Counter(name for found in alive for name in found)
        return [
            _gauge(
                "effects",
                "Effects that are not done, by state; dead ones wait for a person.",
                [({"state": state}, count) for state, count in work.effects],
            ),
            _gauge(
                "queue_depth",
                "Runs that have not ended, by state of their queue row.",
                [({"state": state}, count) for state, count in work.queued_runs],
            ),
            _gauge(
                "projection_lag_events",
                "Events that a read model, the index of the log or its observer is behind the log.",
                [({"projection": s.projection}, s.lag_events) for s in statuses]
                + [({"projection": EVENT_INDEX}, work.index_lag_events)]
                + [({"projection": OBSERVATION}, work.observed_lag_events)],
            ),
            _gauge(
                "projection_lag_seconds",
                "Seconds that a read model, the index of the log or its observer is behind the log.",
                [({"projection": s.projection}, s.lag_seconds) for s in statuses]
                + [({"projection": EVENT_INDEX}, work.index_lag_seconds)]
                + [({"projection": OBSERVATION}, work.observed_lag_seconds)],
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
            *_of_users(users),
            *_alerts(work.alerts),
            _gauge("open_streams", "Live event streams of this process.", [({}, self._streams.open_streams)]),
            _circuits(self._executors),
            _gauge("worker_processes", "Processes that work.", [({}, len(alive))]),
            _gauge(
                "outages",
                "Working processes that find this down; what needs it waits.",
                [({"dependency": name}, count) for name, count in sorted(down.items())],
            ),
            Metric(
                name="log_position",
                help="Position of the last event of the log.",
                kind="counter",
                samples=(Gauge(labels={}, value=self._log.position.last_position),),
            ),
        ]

    async def _of_users_if_known(self) -> Sequence[UserProjectionStatus]:
        """Without them rather than no metrics at all: users' projections are their own affair."""
        try:
            async with asyncio.timeout(USERS_TIMEOUT_S):
                return await self._user_projections.status()
        except Exception as error:  # noqa: BLE001  the other metrics tell of the database
            log.warning("the status of users' projections is not known", extra={"error": describe(error)})
            return ()


class WorkerMetrics:
    """Implements MetricsSource for a process without the API: what no other process can tell."""

    def __init__(self, executors: HttpExecutorDirectory) -> None:
        self._executors = executors

    async def collect(self) -> Sequence[Metric]:
        return [_circuits(self._executors)]


def _circuits(executors: HttpExecutorDirectory) -> Metric:
    circuits = executors.circuit_states()
    return _gauge(
        "executor_circuits",
        "Executors that this process has called lately, by the state of their circuit breaker.",
        [
            ({"state": state}, sum(found == state for found in circuits.values()))
            for state in ("closed", "half_open", "open")
        ],
    )


def _of_users(users: Sequence[UserProjectionStatus]) -> list[Metric]:
    """Series by projection."""
    counted = [each for each in users if each.lag_is_counted]

    def of_each(
        value: Callable[[UserProjectionStatus], float], of: Sequence[UserProjectionStatus] = users
    ) -> list[tuple[dict[str, str], float]]:
        return [({"projection": each.projection}, value(each)) for each in of]

    return [
        _gauge(
            "user_projection_lag_events",
            f"Events that a user's projection is behind, at most {MOST_COUNTED}.",
            of_each(lambda each: each.lag_events, counted),
        ),
        _gauge(
            "user_projection_lag_seconds",
            "Seconds that a user's projection is behind the log.",
            of_each(lambda each: each.lag_seconds, counted),
        ),
        _gauge(
            "user_projection_stopped",
            "1 for a user's projection that stands still at an event that it can't process.",
            of_each(lambda each: each.status == "stopped"),
        ),
        _gauge(
            "user_projection_running",
            "1 for a user's projection that works.",
            of_each(lambda each: each.status == "running"),
        ),
        _gauge(
            "user_projection_restarts",
            "How often a user's projection's process was started again since `fleetlog project` took it over.",
            of_each(lambda each: each.restarts),
        ),
    ]


ALERTS: tuple[tuple[str, str], ...] = (
    ("oldest_due_run_seconds", "How long the oldest run that may be claimed has waited."),
    ("oldest_due_effect_seconds", "How long the oldest effect that may be claimed has waited."),
    ("expired_run_leases", "Runs whose worker has not renewed its lease, and that nobody has taken over yet."),
    ("expired_effect_leases", "Effects whose worker has not renewed its lease, and that nobody has taken over yet."),
    ("open_questions", "Questions that wait for a person."),
    ("failed_sync_workers", "Workers whose last sync failed."),
    ("queue_paused", "1 while the run queue is paused."),
)


def _alerts(alerts: WorkAges) -> list[Metric]:
    return [_gauge(name, text, [({}, float(getattr(alerts, name)))]) for name, text in ALERTS]


def _gauge(name: str, text: str, samples: Sequence[tuple[dict[str, str], float]]) -> Metric:
    return Metric(
        name=name,
        help=text,
        kind="gauge",
        samples=tuple(Gauge(labels=labels, value=float(value)) for labels, value in samples),
    )

"""What the API needs of the rest of the system. The composition root gives it; nothing here knows who keeps it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from application.audit import LogAudit
from application.callbacks import RecordCallbacks
from application.causality import Causality
from application.event_streams import EventSearch, EventStreams
from application.fork_sessions import ForkSessions
from application.idempotency import IdempotencyKeys
from application.operations import MetricsSource, ReadinessCheck, Reconcilers
from application.ports import EventStore
from application.process_manager_control import ProcessManagerControls, ProcessManagerRecords
from application.providers import Providers
from application.queue_control import QueueControl
from application.recorded_workspaces import RecordedWorkspaces
from application.run_commands import RunCommands
from application.session_commands import SessionCommands
from application.work_control import WorkControl
from interfaces.http.auth import KeyHash
from interfaces.http.back_pressure import BodyRoom
from interfaces.http.metrics import RequestMetrics
from projections.ports import History, ProjectionProgress, ReadModels


class CallbackTokens(Protocol):
    """Verifies the tokens with which workers report."""

    async def actor_of(self, run_id: str, token: str) -> str | None:
        """`worker/{sessionId}` when this is the callback token of the run's session in its present generation."""
        ...


@dataclass(frozen=True, kw_only=True)
class ApiDependencies:
    """`unavailable_errors`: the exceptions by which adapters say that a part can't be reached now (503)."""

    sessions: SessionCommands
    runs: RunCommands
    forks: ForkSessions
    callbacks: RecordCallbacks
    queue: QueueControl
    work: WorkControl
    process_managers: ProcessManagerControls
    process_manager_records: ProcessManagerRecords
    reconcilers: Reconcilers
    store: EventStore
    reads: ReadModels
    history: History
    recorded_workspaces: RecordedWorkspaces
    audit: LogAudit
    progress: ProjectionProgress
    streams: EventStreams
    search: EventSearch
    causality: Causality
    idempotency_keys: IdempotencyKeys
    callback_tokens: CallbackTokens
    readiness: tuple[ReadinessCheck, ...]
    metrics: MetricsSource
    providers: Providers
    new_id: Callable[[], str]
    body_room: BodyRoom = field(default_factory=BodyRoom)
    request_metrics: RequestMetrics = field(default_factory=RequestMetrics)
    unavailable_errors: tuple[type[Exception], ...] = ()
    api_keys: tuple[KeyHash, ...] = ()
    idle_timeout_ms: int = 900_000
    remove_after_ms: int = 86_400_000

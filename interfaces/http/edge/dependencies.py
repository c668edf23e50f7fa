"""The ports and use cases that the API's handlers call; the composition root supplies them."""

from collections.abc import Callable
from dataclasses import dataclass, field

from application.operations.consumer_control import ProcessManagerControl
from application.operations.operator_commands import OperatorCommands
from application.operations.reconcilers import Reconcilers
from application.ports.causality import Causality
from application.ports.event_store import EventStore
from application.ports.event_streams import EventSearch, EventStreams
from application.ports.idempotency_keys import IdempotencyKeys
from application.ports.log_audit import LogAudit
from application.ports.operations import MetricsSource, ReadinessCheck
from application.ports.process_manager_records import ProcessManagerRecords
from application.ports.providers import Providers
from application.ports.recorded_workspaces import RecordedWorkspaces
from application.ports.run_queue import QueueDrain, QueueItems
from application.ports.telemetry import NO_SPANS, Spans
from application.runs.callback_tokens import CallbackTokens
from application.runs.callbacks import RecordCallbacks
from application.runs.commands import RunCommands
from application.runs.forking import ForkSessions
from application.sessions.commands import SessionCommands
from application.sessions.executor_logs import ExecutorLogs
from application.sessions.titles import TitleSessions
from interfaces.http.edge.auth import KeyHash
from interfaces.http.edge.body_budget import BodyBudget
from interfaces.http.edge.large_answers import LargeAnswers
from interfaces.http.edge.metrics import RequestMetrics
from interfaces.http.edge.rates import CallerRates
from interfaces.http_conventions.problems import StatusAndReason
from projections.ports import History, ProjectionProgress, ReadModels


@dataclass(frozen=True, kw_only=True)
class ApiDependencies:
    """`adapter_errors`: the adapters' exceptions that an answer may show, with status (502 or 503) and reason.
    `allowed_origins`: of other sites' pages that may use the API; only with `api_keys`."""

    sessions: SessionCommands
    titles: TitleSessions
    executor_logs: ExecutorLogs
    runs: RunCommands
    forks: ForkSessions
    callbacks: RecordCallbacks
    queue: QueueItems
    queue_drain: QueueDrain
    operator_commands: OperatorCommands
    process_managers: ProcessManagerControl
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
    large_answers: LargeAnswers = field(default_factory=LargeAnswers)
    rates: CallerRates = field(default_factory=CallerRates)
    body_budget: BodyBudget = field(default_factory=BodyBudget)
    request_metrics: RequestMetrics = field(default_factory=RequestMetrics)
    spans: Spans = NO_SPANS
    adapter_errors: StatusAndReason = field(default_factory=dict)
    api_keys: tuple[KeyHash, ...] = ()
    allowed_origins: frozenset[str] = frozenset()
    idle_timeout_ms: int = 900_000
    remove_after_ms: int = 86_400_000

"""What the API needs of the rest of the system. The composition root gives it; nothing here knows who keeps it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import msgspec

from application.callbacks import RecordCallbacks
from application.event_streams import EventStreams
from application.idempotency import IdempotencyKeys
from application.operations import MetricsSource, ProviderReadiness, ReadinessCheck, Reconcilers
from application.ports import EventStore
from application.queue_control import QueueControl
from application.run_commands import RunCommands
from application.session_commands import SessionCommands
from interfaces.http.auth import KeyHash
from interfaces.http.metrics import RequestMetrics
from projections.human_loop import HumanLoopRequest
from projections.runs import RunSnapshot, RunSummary
from projections.session_workers import SessionWorkerView
from projections.todos import TodoChange, TodoView
from projections.usage import RunUsage

Value = TypeVar("Value")


class Read(msgspec.Struct, Generic[Value], frozen=True, kw_only=True):
    """What a read model says, and the position up to which it has seen the log."""

    value: Value
    as_of_position: int


class Page(msgspec.Struct, Generic[Value], frozen=True, kw_only=True):
    """`next_cursor` is None on the last page."""

    items: tuple[Value, ...]
    next_cursor: str | None
    as_of_position: int
    total: int | None = None


class ReadModels(Protocol):
    """The reads of the API. `min_position`: wait, within bounds, until the read model has seen it; then NotThereYet.
    Cursors are opaque; a malformed one raises InvalidInput for `cursor`. Unknown runs and sessions read as None."""

    async def session_worker(self, session_id: str, *, min_position: int | None) -> Read[SessionWorkerView | None]: ...

    async def session_workers(
        self,
        *,
        state: str | None,
        app_id: str | None,
        project_name: str | None,
        user_login_name: str | None,
        last_sync_status: str | None,
        limit: int,
        cursor: str | None,
        min_position: int | None,
    ) -> Page[SessionWorkerView]: ...

    async def run(self, run_id: str, *, min_position: int | None) -> Read[RunSnapshot | None]: ...

    async def runs(
        self,
        *,
        session_id: str | None,
        state: str | None,
        provider: str | None,
        app_id: str | None,
        user_login_name: str | None,
        limit: int,
        cursor: str | None,
        min_position: int | None,
    ) -> Page[RunSummary]: ...

    async def todos(self, run_id: str, *, min_position: int | None) -> Read[tuple[TodoView, ...] | None]: ...

    async def todo_changes(self, run_id: str, *, min_position: int | None) -> Read[tuple[TodoChange, ...] | None]: ...

    async def human_loop(
        self, *, run_id: str | None, statuses: frozenset[str] | None, limit: int, min_position: int | None
    ) -> Page[HumanLoopRequest]: ...


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
    callbacks: RecordCallbacks
    queue: QueueControl
    reconcilers: Reconcilers
    store: EventStore
    reads: ReadModels
    streams: EventStreams
    idempotency_keys: IdempotencyKeys
    callback_tokens: CallbackTokens
    readiness: tuple[ReadinessCheck, ...]
    metrics: MetricsSource
    providers: ProviderReadiness
    new_id: Callable[[], str]
    request_metrics: RequestMetrics = field(default_factory=RequestMetrics)
    unavailable_errors: tuple[type[Exception], ...] = ()
    api_keys: tuple[KeyHash, ...] = ()
    idle_timeout_ms: int = 900_000
    remove_after_ms: int = 86_400_000


"""What the API needs of the rest of the system. The composition root gives it; nothing here knows who keeps it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

import msgspec

from application.callbacks import RecordCallbacks
from application.idempotency import IdempotencyKeys
from application.operations import MetricsSource, ProviderReadiness, ReadinessCheck, Reconcilers
from application.ports import EventStore
from application.queue_control import QueueControl
from application.run_commands import RunCommands
from application.session_commands import SessionCommands
from interfaces.http.auth import KeyHash
from projections.human_loop import HumanLoopRequest
from projections.runs import RunSnapshot, RunSummary
from projections.session_workers import SessionWorkerView
from projections.sync_history import SyncRecord
from projections.todos import TodoView
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
    """The reads of the API. `min_position`: wait, within bounds, until the read model has seen it; then NotThereYet."""

    async def session_worker(
        self, session_id: str, *, min_position: int | None
    ) -> Read[SessionWorkerView | None]: ...


class CallbackTokens(Protocol):
    """Verifies the tokens with which workers report."""

    async def actor_of(self, run_id: str, token: str) -> str | None:
        """`worker/{sessionId}` when this is the callback token of the run's session in its present generation."""
        ...


class StoredEvent(Protocol):
    """An event of the log, undecoded."""

    @property
    def position(self) -> int: ...
    @property
    def stream(self) -> str: ...
    @property
    def seq(self) -> int: ...
    @property
    def type(self) -> str: ...
    @property
    def event_id(self) -> str: ...
    @property
    def recorded_at(self) -> datetime: ...
    @property
    def occurred_at(self) -> datetime: ...
    @property
    def schema_version(self) -> int: ...
    @property
    def metadata(self) -> bytes: ...
    @property
    def payload(self) -> bytes: ...


class EventLog(Protocol):
    """The log, for people and for audits."""

    async def read_stream_raw(
        self, stream: str, *, after_seq: int = 0, up_to_seq: int | None = None, limit: int | None = None
    ) -> Sequence[StoredEvent]: ...


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
    event_log: EventLog
    idempotency_keys: IdempotencyKeys
    callback_tokens: CallbackTokens
    readiness: tuple[ReadinessCheck, ...]
    metrics: MetricsSource
    providers: ProviderReadiness
    new_id: Callable[[], str]
    unavailable_errors: tuple[type[Exception], ...] = ()
    api_keys: tuple[KeyHash, ...] = ()
    idle_timeout_ms: int = 900_000
    remove_after_ms: int = 86_400_000


__all__ = ["HumanLoopRequest", "RunSnapshot", "RunSummary", "RunUsage", "SyncRecord", "TodoView"]

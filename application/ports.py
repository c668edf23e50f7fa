"""The ports: what the application needs of the world. Adapters live in infrastructure.

Every method may be cancelled; every adapter bounds its waits.
"""

import http
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Literal, Protocol

import msgspec

from application.executor_protocol import (
    Health,
    JournalEntry,
    LinkResult,
    ReplyRequest,
    ReplyResult,
    RestoreRequest,
    RestoreResult,
    RunState,
    StartRequest,
    SyncProgress,
    SyncRequest,
    SyncResult,
    ValidateRequest,
    ValidateResult,
    WorkspaceCall,
)
from domain.record import NewEvent, RecordedEvent


class ExpectedSeqConflict(Exception):
    """Another writer appended to the stream first. Load it again and decide again."""

    def __init__(self, stream: str, expected: int, actual: int) -> None:
        super().__init__(f"{stream} is at seq {actual}, expected {expected}")
        self.stream, self.expected, self.actual = stream, expected, actual


class AppendResult(msgspec.Struct, frozen=True, kw_only=True):
    """`positions` of all given events, in order; `duplicate` when the stream had every one of them before (found by
    event id), and nothing was written. `last_seq` is the seq of the last given event."""

    positions: tuple[int, ...]
    last_seq: int
    duplicate: bool = False

    @property
    def position(self) -> int:
        return self.positions[-1]


class Append(msgspec.Struct, frozen=True, kw_only=True):
    """What `EventStore.append` takes."""

    stream: str
    expected_seq: int
    events: Sequence[NewEvent]


class EventStore(Protocol):
    """The log. Positions are dense and appear to readers in order, without gaps, across processes."""

    async def append(self, stream: str, expected_seq: int, events: Sequence[NewEvent]) -> AppendResult:
        """Append all or none. `expected_seq` is the stream's last seq, 0 for a new stream.

        If all the event ids are in the stream already the result is a duplicate, whatever `expected_seq` says; if
        only some are, or the stream is at another seq, raises ExpectedSeqConflict.
        """
        ...

    async def append_in_turn(self, appends: Sequence[Append]) -> Sequence[AppendResult | ExpectedSeqConflict]:
        """One after the other, each only when the one before it was written: as calls of `append` would, without
        waiting for the answers between. What came of them, up to the first that wrote nothing."""
        ...

    async def read_stream(
        self, stream: str, *, after_seq: int = 0, up_to_seq: int | None = None, limit: int | None = None
    ) -> list[RecordedEvent]: ...

    async def read_all(self, *, after: int = 0, limit: int = 500) -> list[RecordedEvent]:
        """Events with a position greater than `after`, in order."""
        ...

    async def last_position(self) -> int: ...

    async def last_seq(self, stream: str) -> int:
        """0 for a stream without events."""
        ...

    async def find_event(self, stream: str, event_id: str) -> RecordedEvent | None: ...


class LogTail(Protocol):
    """This process's view of the end of the log: one reader for everybody who waits for a stream to go on."""

    async def wait_for_stream(self, stream: str, after_seq: int, timeout: float) -> int:
        """The last seq of the stream that is known here, as soon as it is greater than `after_seq`; 0 after `timeout`
        seconds."""
        ...


class ContainerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One generation of a session's worker as its runtime sees it. `exit_log` is the end of a dead one's output."""

    container_id: str
    runtime: str
    daemon_id: str
    status: Literal["created", "running", "exited"]
    url: str = ""
    exit_log: str = ""


class ContainerSpec(msgspec.Struct, frozen=True, kw_only=True):
    session_id: str
    generation: int
    token: str


class OwnContainer(msgspec.Struct, frozen=True, kw_only=True):
    """A container of this installation, as its runtime lists it."""

    container_id: str
    session_id: str
    generation: int
    status: Literal["created", "running", "exited"]
    created_at: datetime


class RuntimeUnavailable(Exception):
    """The runtime's daemon can't be reached, or it is another one than recorded: an error, never "gone"."""


class WorkerRuntime(Protocol):
    """Makes, starts and ends the containers of session workers. All calls are idempotent by session and generation."""

    name: str

    async def create(self, spec: ContainerSpec) -> ContainerInfo: ...

    async def start(self, spec: ContainerSpec, container_id: str, *, maintenance: bool = False) -> ContainerInfo:
        """Start it, or find it running (in the same mode), and wait until its executor answers /health. Raises
        ContainerGone when there is none, StartFailed with the log's end when it dies."""
        ...

    async def stop(self, spec: ContainerSpec, container_id: str) -> None: ...

    async def remove(self, spec: ContainerSpec, container_id: str) -> None: ...

    async def inspect(self, spec: ContainerSpec, container_id: str, daemon_id: str) -> ContainerInfo | None:
        """None only when the very daemon (`daemon_id`) says that there is none. Else RuntimeUnavailable."""
        ...

    async def own_containers(self) -> list[OwnContainer]:
        """All containers of this installation, those too that no session stream knows any more; never another's."""
        ...


class ContainerGone(Exception):
    """The very daemon that created the container says that it has none of this id."""


class StartFailed(Exception):
    """The container died or never answered; the message holds the end of its log."""


REFUSALS = frozenset({"layer_missing", "impossible_key", "seed_not_a_file", "recorded_sync_unreadable"})
"""Reasons of executors that no other try changes; what has to be mended first is in the plan or in the store."""


class ExecutorError(Exception):
    """A call to an executor failed for good. `kind` is http, timeout or network; `status` only for http; `reason` is
    the executor's machine-readable word, such as `workspace_not_restored`."""

    def __init__(
        self,
        message: str,
        *,
        kind: Literal["http", "timeout", "network"],
        path: str,
        attempt: int,
        max_attempts: int,
        status: int | None = None,
        reason: str = "",
    ) -> None:
        super().__init__(message)
        self.kind, self.path, self.attempt, self.max_attempts = kind, path, attempt, max_attempts
        self.status, self.reason = status, reason

    @property
    def is_refusal(self) -> bool:
        """Whether the same call would be refused again, however often it is made: what was asked for is wrong."""
        return self.kind == "http" and (self.status == http.HTTPStatus.BAD_REQUEST or self.reason in REFUSALS)


class Executor(Protocol):
    """One worker's executor. Raises ExecutorError when its retries are used up."""

    async def health(self) -> Health: ...
    async def restore(self, request: RestoreRequest) -> RestoreResult: ...
    async def link_agent_data(self, request: WorkspaceCall) -> LinkResult: ...
    async def validate(self, request: ValidateRequest) -> ValidateResult: ...
    async def sync(self, request: SyncRequest) -> SyncResult: ...
    async def sync_progress(self) -> SyncProgress: ...
    async def start_run(self, request: StartRequest) -> RunState: ...
    async def run_state(self, run_id: str) -> RunState | None: ...
    def follow(self, run_id: str, cursor: int) -> AsyncIterator[list[JournalEntry]]:
        """Batches of entries after `cursor`, as they become durable, until run.agent_finished. Raises ExecutorError
        when the connection is lost; call again with the last cursor."""
        ...

    async def stop_run(self, run_id: str) -> RunState | None: ...
    async def reply(self, run_id: str, request: ReplyRequest) -> ReplyResult: ...


class ExecutorDirectory(Protocol):
    """Finds the executor of a worker."""

    def executor(self, *, session_id: str, generation: int, url: str, run_id: str = "") -> Executor: ...

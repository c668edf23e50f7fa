"""The executor of a session worker: the calls of application/executor_protocol.py, with retries behind them."""

import http
from collections.abc import AsyncIterator
from typing import Literal, Protocol

from application.executor_protocol import (
    ExecutorHealth,
    JournalEntry,
    LinkResult,
    LogLines,
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
from domain.workspace.storage import StorageScope

REFUSALS = frozenset(
    {"bucket_missing", "layer_missing", "impossible_key", "seed_not_a_file", "recorded_sync_unreadable"}
)
"""Reasons of executors that a retry can't change: the plan or the object store must be corrected first."""


class ExecutorError(Exception):
    """A call to an executor failed for good. `kind` is http, timeout or network; `status` only for http; `reason` is
    the executor's machine-readable word, such as `workspace_not_restored`. `retry_after_s`: how long it asked to be
    left alone, 0 if it did not."""

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
        retry_after_s: float = 0.0,
    ) -> None:
        super().__init__(message)
        self.kind, self.path, self.attempt, self.max_attempts = kind, path, attempt, max_attempts
        self.status, self.reason = status, reason
        self.retry_after_s = retry_after_s

    @property
    def is_refusal(self) -> bool:
        """Whether the same call would be refused again, however often it is made: what was asked for is wrong."""
        return self.kind == "http" and (self.status == http.HTTPStatus.BAD_REQUEST or self.reason in REFUSALS)


class Executor(Protocol):
    """One session worker's executor. Raises ExecutorError when its retries are used up."""

    async def health(self) -> ExecutorHealth: ...
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

    async def log(self) -> LogLines:
        """The last lines of its log."""
        ...

    async def take_log(self) -> LogLines:
        """Those lines that nobody has taken yet."""
        ...


class ExecutorDirectory(Protocol):
    """Finds the executor of a session worker."""

    def executor(
        self, *, session_id: str, generation: int, url: str, run_id: str = "", storage: StorageScope | None = None
    ) -> Executor:
        """`storage`: what of the object store it may use."""
        ...

"""One worker's executor over HTTP."""

from collections.abc import AsyncIterator

from application.executor_protocol import (
    SUPPORTED_PROTOCOLS,
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
from application.ports import ExecutorError
from infrastructure.executor_client.call_policy import CallPolicy
from infrastructure.executor_client.calls import ExecutorCalls, run_path
from infrastructure.executor_client.journal_stream import StreamCut, entries


class HttpExecutor:
    """Implements Executor."""

    def __init__(self, calls: ExecutorCalls, policy: CallPolicy) -> None:
        self._calls = calls
        self._policy = policy

    async def health(self) -> Health:
        """ExecutorError with reason `unsupported_protocol` when it speaks one that this code does not."""
        health = await self._calls.ask("health", "GET", "/health", Health)
        if health.protocol_version not in SUPPORTED_PROTOCOLS:
            raise ExecutorError(
                f"the executor speaks protocol {health.protocol_version}, this control plane {SUPPORTED_PROTOCOLS}",
                kind="http",
                path="/health",
                attempt=1,
                max_attempts=self._policy.max_attempts,
                status=200,
                reason="unsupported_protocol",
            )
        return health

    async def restore(self, request: RestoreRequest) -> RestoreResult:
        return await self._calls.ask(
            "workspace.restore",
            "POST",
            "/workspace/restore",
            RestoreResult,
            body=request,
            timeout_s=self._policy.long_timeout_s,
        )

    async def link_agent_data(self, request: WorkspaceCall) -> LinkResult:
        return await self._calls.ask(
            "workspace.link_agent_data", "POST", "/workspace/link-agent-data", LinkResult, body=request
        )

    async def validate(self, request: ValidateRequest) -> ValidateResult:
        return await self._calls.ask("workspace.validate", "POST", "/workspace/validate", ValidateResult, body=request)

    async def sync(self, request: SyncRequest) -> SyncResult:
        return await self._calls.ask(
            "workspace.sync",
            "POST",
            "/workspace/sync",
            SyncResult,
            body=request,
            timeout_s=self._policy.long_timeout_s,
        )

    async def sync_progress(self) -> SyncProgress:
        return await self._calls.ask("workspace.sync_progress", "GET", "/workspace/sync", SyncProgress)

    async def start_run(self, request: StartRequest) -> RunState:
        return await self._calls.ask(
            "run.start", "POST", "/provider-runs/start", RunState, body=request, run_id=request.run_id
        )

    async def run_state(self, run_id: str) -> RunState | None:
        try:
            return await self._calls.ask("run.state", "GET", run_path(run_id), RunState, run_id=run_id)
        except ExecutorError as error:
            if error.status == 404:
                return None
            raise

    async def follow(self, run_id: str, cursor: int) -> AsyncIterator[list[JournalEntry]]:
        path = run_path(run_id, "/stream")
        async with self._calls.stream("run.follow", path, params={"cursor": cursor}, run_id=run_id) as (
            response,
            attempt,
        ):
            try:
                async for batch in entries(response):
                    yield batch
            except StreamCut as error:
                raise self._calls.cut("run.follow", path, attempt, error) from error

    async def stop_run(self, run_id: str) -> RunState | None:
        try:
            return await self._calls.ask("run.stop", "POST", run_path(run_id, "/stop"), RunState, run_id=run_id)
        except ExecutorError as error:
            if error.status == 404:
                return None
            raise

    async def reply(self, run_id: str, request: ReplyRequest) -> ReplyResult:
        return await self._calls.ask(
            "run.reply", "POST", run_path(run_id, "/human-loop/reply"), ReplyResult, body=request, run_id=run_id
        )

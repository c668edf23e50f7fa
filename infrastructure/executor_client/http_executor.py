"""The Executor port over HTTP."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from application import executor_protocol as protocol
from application.executor_protocol import (
    SUPPORTED_PROTOCOLS,
    ExecutorCall,
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
from application.ports.executor import ExecutorError
from application.task_cancellation import cancel_and_wait
from infrastructure.executor_client.call_policy import CallPolicy
from infrastructure.executor_client.calls import ExecutorCalls
from infrastructure.executor_client.journal_stream import StreamCut, entries

_log = logging.getLogger("fleetlog.executor_client")


class HttpExecutor:
    """Implements Executor."""

    def __init__(self, calls: ExecutorCalls, policy: CallPolicy) -> None:
        self._calls = calls
        self._policy = policy

    async def health(self) -> ExecutorHealth:
        """Raises ExecutorError with reason `unsupported_protocol` if this code does not support the executor's."""
        health = await self._calls.ask(protocol.HEALTH)
        if health.protocol_version not in SUPPORTED_PROTOCOLS:
            raise ExecutorError(
                f"the executor speaks protocol {health.protocol_version}, this control plane {SUPPORTED_PROTOCOLS}",
                kind="http",
                path=protocol.HEALTH.path,
                attempt=1,
                max_attempts=self._policy.max_attempts,
                status=200,
                reason="unsupported_protocol",
            )
        return health

    async def restore(self, request: RestoreRequest) -> RestoreResult:
        async with self._kept_supplied():
            return await self._calls.ask(protocol.RESTORE, body=request, timeout_s=self._policy.long_timeout_s)

    async def link_agent_data(self, request: WorkspaceCall) -> LinkResult:
        return await self._calls.ask(protocol.LINK_AGENT_DATA, body=request)

    async def validate(self, request: ValidateRequest) -> ValidateResult:
        return await self._calls.ask(protocol.VALIDATE, body=request)

    async def sync(self, request: SyncRequest) -> SyncResult:
        async with self._kept_supplied():
            return await self._calls.ask(protocol.SYNC, body=request, timeout_s=self._policy.long_timeout_s)

    async def sync_progress(self) -> SyncProgress:
        return await self._calls.ask(protocol.SYNC_PROGRESS)

    async def start_run(self, request: StartRequest) -> RunState:
        return await self._calls.ask(protocol.START_RUN, body=request, run_id=request.run_id)

    async def run_state(self, run_id: str) -> RunState | None:
        return await self._known(protocol.RUN_STATE, run_id)

    async def follow(self, run_id: str, cursor: int) -> AsyncIterator[list[JournalEntry]]:
        async with (
            self._kept_supplied(),
            self._calls.stream(protocol.FOLLOW_RUN, params={"cursor": cursor}, run_id=run_id) as (response, attempt),
        ):
            try:
                async for batch in entries(response):
                    yield batch
            except StreamCut as error:
                raise self._calls.cut(protocol.FOLLOW_RUN, run_id, attempt, error) from error

    async def stop_run(self, run_id: str) -> RunState | None:
        return await self._known(protocol.STOP_RUN, run_id)

    async def reply(self, run_id: str, request: ReplyRequest) -> ReplyResult:
        return await self._calls.ask(protocol.REPLY, body=request, run_id=run_id)

    @asynccontextmanager
    async def _kept_supplied(self) -> AsyncIterator[None]:
        """While the block runs, the executor gets credentials that expire again and again: a run, a restore or a sync
        may outlive those with which it began."""
        if not self._calls.passes_credentials:
            yield
            return
        supplying = asyncio.create_task(self._supply())
        try:
            yield
        finally:
            await cancel_and_wait([supplying])

    async def _supply(self) -> None:
        while True:
            await asyncio.sleep(self._policy.pass_credentials_every_s)
            if not await self._calls.has_credentials_to_pass():
                continue
            try:
                await self._calls.ask(protocol.SYNC_PROGRESS)  # any call brings them
            except ExecutorError as error:
                _log.warning("the executor did not get renewed credentials, the next try follows: %s", error)

    async def log(self) -> LogLines:
        return await self._calls.ask(protocol.LOG)

    async def take_log(self) -> LogLines:
        return await self._calls.ask(protocol.TAKE_LOG)

    async def _known(self, call: ExecutorCall[RunState], run_id: str) -> RunState | None:
        try:
            return await self._calls.ask(call, run_id=run_id)
        except ExecutorError as error:
            if error.status == 404:
                return None
            raise

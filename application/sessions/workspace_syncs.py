"""A sync of a session worker's workspace, with progress events while a long one goes on."""

import asyncio
from collections.abc import Awaitable, Callable

from application.command_context import CommandContext
from application.executor_protocol import SyncProgress, SyncRequest, SyncResult
from application.ports.effect_handler import EffectObsolete
from application.ports.executor import Executor, ExecutorError
from application.sessions.session_workers import LoadedWorker, SessionWorkers
from application.task_cancellation import cancel_and_wait
from domain.errors import DomainError
from domain.session.commands import RecordSynced, RecordSyncProgress
from domain.session.decide import wanted_sync
from domain.workspace.limits import WorkspaceLimits
from domain.workspace.sync import GATE_REASONS

DEFAULT_LIMITS = WorkspaceLimits()
GROWTH = 1.25
MAX_PROGRESS_EVENTS = 20


class WorkspaceSyncs:
    """Syncs for the effect worker, and for the run worker that ends a run.

    `first_after_s`: seconds before a running sync records its first progress event; it records at
    most MAX_PROGRESS_EVENTS, at growing intervals. None: no progress is recorded. `limits`: of a workspace that may be
    synced. `flush_store`: awaited after a gate sync, for an object store that answers before its content is on a disk.
    """

    def __init__(
        self,
        workers: SessionWorkers,
        *,
        first_after_s: float | None,
        limits: WorkspaceLimits = DEFAULT_LIMITS,
        flush_store: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._workers, self._first_after_s = workers, first_after_s
        self._limits, self._flush_store = limits, flush_store

    async def sync(
        self, worker: LoadedWorker, sync_id: str, context: Callable[[str], CommandContext], *, attempt: int = 1
    ) -> None:
        """Sync and record it. Idempotent. Raises as `perform` does, and DomainError when the session refuses the
        record."""
        command = await self.perform(worker, sync_id, context, attempt=attempt)
        await self._workers.sessions.handle(worker.session_id, command, context("synced"))

    async def perform(
        self, worker: LoadedWorker, sync_id: str, context: Callable[[str], CommandContext], *, attempt: int = 1
    ) -> RecordSynced:
        """Sync; the command that records it, still to be sent. Raises EffectObsolete when nobody waits for it,
        ExecutorError, and for a gate sync ObjectStoreError."""
        wanted = wanted_sync(worker.state, sync_id)
        if wanted is None:
            raise EffectObsolete("nobody waits for this sync any more")
        call = worker.call()
        request = SyncRequest(
            session_id=call.session_id,
            container_id=call.container_id,
            generation=call.generation,
            session_seq=call.session_seq,
            workspace_s3_prefix=worker.state.workspace_prefix,
            sync_id=sync_id,
            reason=wanted.reason,
            gate=wanted.reason in GATE_REASONS,
            previous=worker.state.last_sync,
            limits=self._limits,
        )
        result = await self._synced(worker, request, context, attempt)
        if request.gate and self._flush_store is not None:
            await self._flush_store()
        return RecordSynced(
            generation=call.generation,
            sync_id=sync_id,
            sync=result.sync,
            unchanged=result.unchanged,
            files=result.files,
            bytes=result.bytes,
            uploaded_files=result.uploaded_files,
            uploaded_bytes=result.uploaded_bytes,
            unstable_paths=result.unstable_paths,
            skipped_paths=result.skipped_paths,
        )

    async def _synced(
        self, worker: LoadedWorker, request: SyncRequest, context: Callable[[str], CommandContext], attempt: int
    ) -> SyncResult:
        """The executor's result. Errors in recording the progress do not affect it."""
        executor = self._workers.executor(worker)
        if self._first_after_s is None:
            return await executor.sync(request)

        def step(number: int) -> CommandContext:
            return context(f"progress/{attempt}/{number}")

        reporting: set[asyncio.Task[None]] = set()

        def report(pause: float) -> None:
            reporting.add(asyncio.create_task(self._report_progress(worker, executor, request.sync_id, step, pause)))

        beginning = asyncio.get_running_loop().call_later(self._first_after_s, report, self._first_after_s)
        try:
            return await executor.sync(request)
        finally:
            beginning.cancel()
            await cancel_and_wait(reporting)

    async def _report_progress(
        self,
        worker: LoadedWorker,
        executor: Executor,
        sync_id: str,
        step: Callable[[int], CommandContext],
        pause: float,
    ) -> None:
        reported = SyncProgress()
        for number in range(MAX_PROGRESS_EVENTS):
            try:
                progress = await executor.sync_progress()
                if progress.sync_id == sync_id and progress != reported:
                    reported = progress
                    await self._record(worker, progress, step(number))
            except (ExecutorError, DomainError):
                return
            pause *= GROWTH
            await asyncio.sleep(pause)

    async def _record(self, worker: LoadedWorker, progress: SyncProgress, context: CommandContext) -> None:
        command = RecordSyncProgress(
            generation=worker.state.generation,
            sync_id=progress.sync_id,
            files=progress.files,
            files_done=progress.files_done,
            bytes=progress.bytes,
            bytes_done=progress.bytes_done,
        )
        await self._workers.sessions.handle(worker.session_id, command, context)

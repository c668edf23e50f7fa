"""A sync of a worker's workspace, with what a long one tells of itself while it goes on."""

import asyncio
from collections.abc import Callable

from application.command_context import CommandContext
from application.effects.effect import EffectObsolete
from application.effects.workers import Worker, Workers
from application.ending_tasks import end_tasks
from application.executor_protocol import SyncProgress, SyncRequest, SyncResult
from application.ports import Executor, ExecutorError
from domain.errors import DomainError
from domain.session.commands import RecordSynced, RecordSyncProgress
from domain.session.decide import wanted_sync
from domain.workspace.sync import GATE_REASONS

GROWTH = 1.25
MOST_EVENTS = 20
"""The last of these comes 29 minutes after the first, when a sync's own time is over."""


class WorkspaceSyncs:
    """Syncs a worker and records it, whoever asks: the effect worker, or who executes the run that wants it.

    `first_after_s`: seconds until the first event of a sync's progress, of which there are a few, further and further
    apart; what is shorter leaves none. None: no sync does.
    """

    def __init__(self, workers: Workers, *, first_after_s: float | None) -> None:
        self._workers, self._first_after_s = workers, first_after_s

    async def sync(
        self, worker: Worker, sync_id: str, context: Callable[[str], CommandContext], *, attempt: int = 1
    ) -> None:
        """Idempotent. Raises as `made` does, and what the session says to a worker that is not its own any more
        (DomainError)."""
        command = await self.made(worker, sync_id, context, attempt=attempt)
        await self._workers.sessions.handle(worker.session_id, command, context("synced"))

    async def made(
        self, worker: Worker, sync_id: str, context: Callable[[str], CommandContext], *, attempt: int = 1
    ) -> RecordSynced:
        """The sync, still to be recorded. Raises EffectObsolete when nobody waits for it, ExecutorError."""
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
        )
        result = await self._synced(worker, request, context, attempt)
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
        self, worker: Worker, request: SyncRequest, context: Callable[[str], CommandContext], attempt: int
    ) -> SyncResult:
        """Nothing of the progress, or of trouble with it, changes how the sync ends."""
        executor = self._workers.executor(worker)
        if self._first_after_s is None:
            return await executor.sync(request)

        def step(number: int) -> CommandContext:
            return context(f"progress/{attempt}/{number}")

        telling: set[asyncio.Task[None]] = set()

        def tell(pause: float) -> None:
            telling.add(asyncio.create_task(self._tell(worker, executor, request.sync_id, step, pause)))

        beginning = asyncio.get_running_loop().call_later(self._first_after_s, tell, self._first_after_s)
        try:
            return await executor.sync(request)
        finally:
            beginning.cancel()
            await end_tasks(telling)

    async def _tell(
        self, worker: Worker, executor: Executor, sync_id: str, step: Callable[[int], CommandContext], pause: float
    ) -> None:
        told = SyncProgress()
        for number in range(MOST_EVENTS):
            try:
                progress = await executor.sync_progress()
                if progress.sync_id == sync_id and progress != told:
                    told = progress
                    await self._record(worker, progress, step(number))
            except (ExecutorError, DomainError):
                return
            pause *= GROWTH
            await asyncio.sleep(pause)

    async def _record(self, worker: Worker, progress: SyncProgress, context: CommandContext) -> None:
        command = RecordSyncProgress(
            generation=worker.state.generation,
            sync_id=progress.sync_id,
            files=progress.files,
            files_done=progress.files_done,
            bytes=progress.bytes,
            bytes_done=progress.bytes_done,
        )
        await self._workers.sessions.handle(worker.session_id, command, context)

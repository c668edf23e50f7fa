"""What a long sync tells of itself while it goes on: a few events, further and further apart."""

import asyncio

from application.effects.effect import ClaimedEffect
from application.effects.workers import Worker, Workers
from application.ending_tasks import end_tasks
from application.executor_protocol import SyncProgress, SyncRequest, SyncResult
from application.ports import Executor, ExecutorError
from domain.errors import DomainError
from domain.session.commands import RecordSyncProgress

GROWTH = 1.25
MOST_EVENTS = 20
"""The last of these comes 29 minutes after the first, when a sync's own time is over."""


class SyncsWithProgress:
    """`first_after_s`: seconds until the first event of a sync; what is shorter leaves none. None: no sync does."""

    def __init__(self, workers: Workers, *, first_after_s: float | None) -> None:
        self._workers, self._first_after_s = workers, first_after_s

    async def sync(self, effect: ClaimedEffect, worker: Worker, request: SyncRequest) -> SyncResult:
        """Raises ExecutorError. Nothing of the progress, or of trouble with it, changes how the sync ends."""
        executor = self._workers.executor(worker)
        if self._first_after_s is None:
            return await executor.sync(request)
        telling = asyncio.create_task(self._tell(effect, worker, executor, request.sync_id, self._first_after_s))
        try:
            return await executor.sync(request)
        finally:
            await end_tasks([telling])

    async def _tell(
        self, effect: ClaimedEffect, worker: Worker, executor: Executor, sync_id: str, pause: float
    ) -> None:
        told = SyncProgress()
        for number in range(MOST_EVENTS):
            await asyncio.sleep(pause)
            pause *= GROWTH
            try:
                progress = await executor.sync_progress()
                if progress.sync_id != sync_id or progress == told:
                    continue
                told = progress
                await self._record(effect, worker, progress, number)
            except (ExecutorError, DomainError):
                return

    async def _record(self, effect: ClaimedEffect, worker: Worker, progress: SyncProgress, number: int) -> None:
        command = RecordSyncProgress(
            generation=worker.state.generation,
            sync_id=progress.sync_id,
            files=progress.files,
            files_done=progress.files_done,
            bytes=progress.bytes,
            bytes_done=progress.bytes_done,
        )
        context = effect.context(f"progress/{effect.attempt}/{number}")
        await self._workers.sessions.handle(worker.session_id, command, context)

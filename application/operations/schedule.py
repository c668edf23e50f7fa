"""What runs periodically: housekeeping of session workers, and the reconcilers."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

from application.command_context import CommandContext
from application.operations.reconcilers import Reconcilers
from application.sessions.commands import CleanupCounts, SessionCommands

log = logging.getLogger(__name__)
INTERVAL_S = 60.0
QUESTION_INTERVAL_S = 2.0
COLLECTION_INTERVAL_S = 3600.0
BATCH = 50
PATIENCE_S = 30.0

Job = Callable[[CommandContext], Awaitable[object]]


class Schedule:
    """May run in several processes at once."""

    def __init__(
        self,
        *,
        sessions: SessionCommands,
        reconcilers: Reconcilers,
        new_id: Callable[[], str],
        idle_timeout: timedelta,
        remove_after: timedelta,
    ) -> None:
        self._sessions, self._reconcilers, self._new_id = sessions, reconcilers, new_id
        self._idle_timeout, self._remove_after = idle_timeout, remove_after

    async def run(self) -> None:
        """Run every job at once and then at its interval, until cancelled."""
        reconcilers = self._reconcilers
        jobs: tuple[tuple[float, str, Job], ...] = (
            (INTERVAL_S, "idle", self.stop_idle),
            (INTERVAL_S, "remove", self.remove_stopped),
            (INTERVAL_S, "compensation", reconcilers.compensate_syncs),
            (INTERVAL_S, "orphans", self._clean_orphans),
            (INTERVAL_S, "effects", reconcilers.free_effects),
            (INTERVAL_S, "runs", reconcilers.restore_runs),
            (INTERVAL_S, "overdue", reconcilers.end_overdue_runs),
            (COLLECTION_INTERVAL_S, "collect", reconcilers.collect_content),
            (QUESTION_INTERVAL_S, "expire", reconcilers.expire_questions),
        )
        async with asyncio.TaskGroup() as tasks:
            for seconds, purpose, job in jobs:
                tasks.create_task(self._every(seconds, purpose, job), name=f"schedule {purpose}")

    async def stop_idle(self, context: CommandContext) -> CleanupCounts:
        return await self._sessions.cleanup_idle(
            idle_timeout=self._idle_timeout, limit=BATCH, context=context, wait_s=PATIENCE_S, failing_too=False
        )

    async def remove_stopped(self, context: CommandContext) -> CleanupCounts:
        return await self._sessions.cleanup_stopped(
            remove_after=self._remove_after, limit=BATCH, context=context, wait_s=PATIENCE_S, failing_too=False
        )

    async def _clean_orphans(self, context: CommandContext) -> None:
        await self._reconcilers.clean_orphans(context, only_news=True)

    async def _every(self, seconds: float, purpose: str, job: Job) -> None:
        while True:
            command_id = f"schedule/{purpose}/{self._new_id()}"
            try:
                await job(CommandContext(actor="schedule", command_id=command_id, correlation_id=command_id))
            except Exception:
                log.exception("scheduled work failed; it is tried again")
            await asyncio.sleep(seconds)

"""What is done by the clock: housekeeping of workers, questions that nobody answers, syncs that are too old."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Protocol

from application.aggregates import Clock
from application.command_context import CommandContext
from application.orphans import CleanOrphans, OrphanCounts
from application.run_commands import RunCommands
from application.session_commands import CleanupCounts, HousekeepingCandidates, SessionCommands
from domain.errors import DomainError

log = logging.getLogger(__name__)
INTERVAL = timedelta(minutes=1)
QUESTION_INTERVAL_S = 2.0
BATCH = 50
PATIENCE_S = 30.0


class OpenQuestions(Protocol):
    """From the read models; the run's own stream decides whether a question's time is really over."""

    async def expired(self, now: datetime, limit: int) -> list[tuple[str, str]]:
        """(run id, question id) of open questions whose time was over at `now`."""
        ...


class Schedule:
    """Every method may run in several processes at once: what they decide is decided on the streams."""

    def __init__(
        self,
        *,
        sessions: SessionCommands,
        runs: RunCommands,
        candidates: HousekeepingCandidates,
        questions: OpenQuestions,
        orphans: CleanOrphans,
        clock: Clock,
        new_id: Callable[[], str],
        idle_timeout: timedelta,
        remove_after: timedelta,
        stale_sync_after: timedelta,
    ) -> None:
        self._sessions, self._runs = sessions, runs
        self._candidates, self._questions, self._orphans = candidates, questions, orphans
        self._clock, self._new_id = clock, new_id
        self._idle_timeout, self._remove_after = idle_timeout, remove_after
        self._stale_sync_after = stale_sync_after

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._every(INTERVAL.total_seconds(), self.stop_idle), name="stop idle workers")
            tasks.create_task(self._every(INTERVAL.total_seconds(), self.remove_stopped), name="remove workers")
            tasks.create_task(self._every(INTERVAL.total_seconds(), self.compensate_syncs), name="compensate syncs")
            tasks.create_task(self._every(INTERVAL.total_seconds(), self.clean_orphans), name="clean orphans")
            tasks.create_task(self._every(QUESTION_INTERVAL_S, self.expire_questions), name="expire questions")

    async def stop_idle(self) -> CleanupCounts:
        return await self._sessions.cleanup_idle(
            idle_timeout=self._idle_timeout, limit=BATCH, context=self._context("idle"), wait_s=PATIENCE_S
        )

    async def remove_stopped(self) -> CleanupCounts:
        return await self._sessions.cleanup_stopped(
            remove_after=self._remove_after, limit=BATCH, context=self._context("remove"), wait_s=PATIENCE_S
        )

    async def compensate_syncs(self) -> int:
        """Sync running workers again whose last successful sync is too old; how many were asked to."""
        found = await self._candidates.stale_syncs(self._clock() - self._stale_sync_after, BATCH)
        for session_id in found:
            try:
                await self._sessions.sync(
                    session_id, self._context(f"compensation/{session_id}"), wait_s=0, reason="compensation"
                )
            except DomainError as error:
                log.info("session %s was not synced again: %s", session_id, error)
        return len(found)

    async def clean_orphans(self) -> OrphanCounts:
        """Remove containers of this installation that no session names and that hold nothing."""
        return await self._orphans.clean(BATCH, self._context("orphans"))

    async def expire_questions(self) -> int:
        """Expire open questions whose time is over; how many there were."""
        now = self._clock()
        found = await self._questions.expired(now, BATCH)
        for run_id, question_id in found:
            context = self._context(f"expire/{run_id}/{question_id}")
            try:
                await self._runs.expire_question(run_id, question_id, now, context)
            except DomainError as error:
                log.info("question %s of run %s did not expire: %s", question_id, run_id, error)
        return len(found)

    def _context(self, purpose: str) -> CommandContext:
        command_id = f"schedule/{purpose}/{self._new_id()}"
        return CommandContext(actor="schedule", command_id=command_id, correlation_id=command_id)

    async def _every(self, seconds: float, work: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await work()
            except Exception:
                log.exception("scheduled work failed; it is tried again")
            await asyncio.sleep(seconds)

"""What is done by the clock: housekeeping of workers, questions that nobody answers, syncs that are too old."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Literal, Protocol

from application.aggregates import Clock
from application.command_context import CommandContext
from application.content_collection import RequestCollections
from application.effect_ledger import EffectLedger
from application.findings import Findings, few
from application.missing_runs import RestoreMissingRuns
from application.operations import ReconcileCounts
from application.orphans import CleanOrphans
from application.run_commands import RunCommands
from application.session_commands import CleanupCounts, HousekeepingCandidates, SessionCommands
from domain.errors import DomainError
from domain.operations.events import ReconcileFinished

log = logging.getLogger(__name__)
INTERVAL = timedelta(minutes=1)
QUESTION_INTERVAL_S = 2.0
COLLECTION_INTERVAL_S = 3600.0
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
        effects: EffectLedger,
        collections: RequestCollections,
        missing_runs: RestoreMissingRuns,
        findings: Findings,
        clock: Clock,
        new_id: Callable[[], str],
        idle_timeout: timedelta,
        remove_after: timedelta,
        stale_sync_after: timedelta,
    ) -> None:
        self._sessions, self._runs = sessions, runs
        self._candidates, self._questions, self._orphans = candidates, questions, orphans
        self._effects, self._collections = effects, collections
        self._missing_runs = missing_runs
        self._findings, self._clock, self._new_id = findings, clock, new_id
        self._seen_orphans: set[str] = set()
        self._idle_timeout, self._remove_after = idle_timeout, remove_after
        self._stale_sync_after = stale_sync_after

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._every(INTERVAL.total_seconds(), self.stop_idle), name="stop idle workers")
            tasks.create_task(self._every(INTERVAL.total_seconds(), self.remove_stopped), name="remove workers")
            tasks.create_task(self._every(INTERVAL.total_seconds(), self.compensate_syncs), name="compensate syncs")
            tasks.create_task(self._every(INTERVAL.total_seconds(), self.clean_orphans), name="clean orphans")
            tasks.create_task(self._every(INTERVAL.total_seconds(), self.free_effects), name="free effects")
            tasks.create_task(self._every(INTERVAL.total_seconds(), self.restore_runs), name="restore runs")
            tasks.create_task(self._every(COLLECTION_INTERVAL_S, self.collect_content), name="collect content")
            tasks.create_task(self._every(QUESTION_INTERVAL_S, self.expire_questions), name="expire questions")

    async def stop_idle(self) -> CleanupCounts:
        return await self._sessions.cleanup_idle(
            idle_timeout=self._idle_timeout, limit=BATCH, context=self._context("idle"), wait_s=PATIENCE_S
        )

    async def remove_stopped(self) -> CleanupCounts:
        return await self._sessions.cleanup_stopped(
            remove_after=self._remove_after, limit=BATCH, context=self._context("remove"), wait_s=PATIENCE_S
        )

    async def compensate_syncs(self, context: CommandContext | None = None) -> ReconcileCounts:
        """Ask running workers for a sync again whose last successful one is too old."""
        context = context or self._context("compensation")
        failed: list[str] = []
        found = await self._candidates.stale_syncs(self._clock() - self._stale_sync_after, BATCH)
        for session_id in found:
            try:
                item = context.caused_by(context.command_id, f"{context.command_id}/{session_id}")
                await self._sessions.sync(session_id, item, wait_s=0, reason="compensation")
            except DomainError as error:
                failed.append(session_id)
                log.info("session %s was not synced again: %s", session_id, error)
        return await self._found("syncs", found, failed, context)

    async def clean_orphans(self, context: CommandContext | None = None) -> ReconcileCounts:
        """Remove containers of this installation that no session names and that hold nothing. Those that are kept until
        a person has looked at them are examined each time; by the clock they leave a finding once."""
        asked = context is not None
        context = context or self._context("orphans")
        counts = await self._orphans.clean(BATCH, context)
        finding = ReconcileFinished(
            what="orphans",
            examined=counts.found,
            acted=counts.removed,
            failed=counts.failed,
            subjects=few(counts.container_ids),
        )
        position = 0
        if asked or counts.removed or counts.failed or set(counts.container_ids) - self._seen_orphans:
            position = await self._findings.record(finding, context)
        self._seen_orphans = set(counts.container_ids)
        return ReconcileCounts(examined=counts.found, acted=counts.removed, failed=counts.failed, position=position)

    async def free_effects(self, context: CommandContext | None = None) -> ReconcileCounts:
        """Let others perform the effects whose worker is gone. Workers find them by themselves, when they have room."""
        found = await self._effects.free_stale()
        return await self._found("effects", [*found], [], context or self._context("effects"))

    async def restore_runs(self, context: CommandContext | None = None) -> ReconcileCounts:
        """Put runs back into the queue that go on by the log and are not there."""
        return await self._missing_runs.restore(BATCH, context or self._context("runs"))

    async def collect_content(self, context: CommandContext | None = None) -> ReconcileCounts:
        """Ask for the collection of content that no kept sync names, where one is due."""
        context = context or self._context("collect")
        found, refused = await self._collections.request_due(BATCH, context)
        return await self._found("collections", found, refused, context)

    async def expire_questions(self, context: CommandContext | None = None) -> ReconcileCounts:
        """Expire open questions whose time is over."""
        context, now = context or self._context("expire"), self._clock()
        failed: list[str] = []
        found = await self._questions.expired(now, BATCH)
        for run_id, question_id in found:
            item = context.caused_by(context.command_id, f"{context.command_id}/{run_id}/{question_id}")
            try:
                await self._runs.expire_question(run_id, question_id, now, item)
            except DomainError as error:
                failed.append(run_id)
                log.info("question %s of run %s did not expire: %s", question_id, run_id, error)
        return await self._found("questions", [run_id for run_id, _ in found], failed, context)

    async def _found(
        self,
        what: Literal["syncs", "questions", "effects", "collections"],
        subjects: list[str],
        failed: list[str],
        context: CommandContext,
    ) -> ReconcileCounts:
        acted = len(subjects) - len(failed)
        finding = ReconcileFinished(
            what=what, examined=len(subjects), acted=acted, failed=len(failed), subjects=few(subjects)
        )
        position = await self._findings.record(finding, context)
        return ReconcileCounts(examined=len(subjects), acted=acted, failed=len(failed), position=position)

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

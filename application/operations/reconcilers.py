"""The reconcilers find what has gone wrong or fallen behind and put it right, by the clock or on request. Each round
that examined something appends `reconcile.finished` to the log."""

import logging
from datetime import timedelta
from typing import Literal

from application.aggregates.aggregates import Clock
from application.aggregates.reconcile_log import ReconcileLog, first_subjects
from application.command_context import CommandContext
from application.operations.orphans import CleanOrphans
from application.operations.queue_reconciliation import ReconcileRunQueue
from application.ports.effect_ledger import EffectLedger
from application.ports.housekeeping import HousekeepingCandidates
from application.ports.operations import ExpiredQuestions, OverdueExternalRuns, ReconcileCounts, StaleRuns
from application.repairs.kinds import EXPIRED_QUESTION, OUTSIDE_RUN, STALE_EFFECT, STALE_SYNC
from application.repairs.said import UNCOUNTED, Found, Repairs
from application.runs.commands import RunCommands
from application.runs.limits import RunLimits
from application.sessions.commands import SessionCommands
from application.sessions.content_collection import RequestCollections
from domain.errors import DomainError
from domain.operations.events import ReconcileFinished

log = logging.getLogger(__name__)
BATCH = 50
STALE_RUNS_AT_ONCE = 100
TAKEOVER_PATIENCE_S = 1.0


class Reconcilers:
    """Every method may run in several processes at once, since the decisions are made on the streams."""

    def __init__(
        self,
        *,
        sessions: SessionCommands,
        runs: RunCommands,
        stale_runs: StaleRuns,
        queue_reconciliation: ReconcileRunQueue,
        candidates: HousekeepingCandidates,
        questions: ExpiredQuestions,
        external_runs: OverdueExternalRuns,
        external_run_limits: RunLimits,
        orphans: CleanOrphans,
        effects: EffectLedger,
        collections: RequestCollections,
        reconcile_log: ReconcileLog,
        clock: Clock,
        stale_sync_after: timedelta,
        repairs: Repairs = UNCOUNTED,
    ) -> None:
        self._repairs = repairs
        self._sessions, self._runs = sessions, runs
        self._stale_runs, self._queue_reconciliation = stale_runs, queue_reconciliation
        self._candidates, self._questions, self._orphans = candidates, questions, orphans
        self._effects, self._collections = effects, collections
        self._reconcile_log, self._clock = reconcile_log, clock
        self._seen_orphans: set[str] = set()
        self._external_runs, self._external_run_limits = external_runs, external_run_limits
        self._stale_sync_after = stale_sync_after

    async def reconcile_runs(self, context: CommandContext, *, wait_s: float) -> ReconcileCounts:
        """Take over runs whose lease has run out, put runs that the queue has lost back into it, expire questions, and
        end external runs that are overdue. All of this is also done by the clock or by workers; `wait_s` bounds how
        long this call watches the runs taken over."""
        expired = await self.expire_questions(context)
        overdue = await self.end_overdue_runs(context)
        restored = await self.restore_runs(context)
        # Long enough to see which of them break off again at once; their ends are not waited for.
        patience_s = min(wait_s / 2, TAKEOVER_PATIENCE_S)
        taken = await self._stale_runs.take_over(limit=STALE_RUNS_AT_ONCE, wait_s=patience_s)
        finished = ReconcileFinished(
            what="runs",
            examined=len(taken.run_ids),
            acted=len(taken.run_ids) - taken.broken_off,
            failed=taken.broken_off,
            subjects=first_subjects(taken.run_ids),
        )
        position = await self._reconcile_log.record(finished, context)
        return ReconcileCounts(
            examined=finished.examined + expired.examined + restored.examined + overdue.examined,
            acted=finished.acted + expired.acted + restored.acted + overdue.acted,
            failed=finished.failed + expired.failed + overdue.failed,
            position=max(position, expired.position, restored.position, overdue.position),
        )

    async def compensate_syncs(self, context: CommandContext) -> ReconcileCounts:
        """Request a sync of running session workers whose last successful one is older than `stale_sync_after`."""
        failed: list[str] = []
        asked: list[Found] = []
        synced_before = self._clock() - self._stale_sync_after
        found = await self._candidates.unsynced_workers(synced_before=synced_before, limit=BATCH)
        for session_id in found:
            try:
                item = context.caused_by(context.command_id, f"{context.command_id}/{session_id}")
                await self._sessions.sync(session_id, item, wait_s=0, reason="compensation")
                asked.append(Found(session_id=session_id))
            except DomainError as error:
                failed.append(session_id)
                log.info("session %s was not synced again: %s", session_id, error, extra={"sessionId": session_id})
        self._repairs.of_round(STALE_SYNC, context, *asked)
        return await self._finished("syncs", found, failed, context)

    async def clean_orphans(self, context: CommandContext, *, only_news: bool = False) -> ReconcileCounts:
        """Remove orphans that hold nothing. The others are kept until a person has looked at them, and found by each
        round; with `only_news` a round that removes nothing and finds no new ones is not recorded."""
        counts = await self._orphans.clean(BATCH, context)
        finished = ReconcileFinished(
            what="orphans",
            examined=counts.found,
            acted=counts.removed,
            failed=counts.failed,
            subjects=first_subjects(counts.container_ids),
        )
        position = 0
        news = bool(counts.removed or counts.failed or set(counts.container_ids) - self._seen_orphans)
        if news or not only_news:
            position = await self._reconcile_log.record(finished, context)
        self._seen_orphans = set(counts.container_ids)
        return ReconcileCounts(examined=counts.found, acted=counts.removed, failed=counts.failed, position=position)

    async def free_effects(self, context: CommandContext) -> ReconcileCounts:
        """Free the effects whose lease has run out. Effect workers also claim these by themselves, as they have
        room."""
        found = await self._effects.free_stale()
        self._repairs.of_round(STALE_EFFECT, context, *(Found(effect_id=effect_id) for effect_id in found))
        return await self._finished("effects", [*found], [], context)

    async def restore_runs(self, context: CommandContext) -> ReconcileCounts:
        """Put runs that have not ended according to the log, and have no row, back into the queue."""
        return await self._queue_reconciliation.reconcile(BATCH, context)

    async def collect_content(self, context: CommandContext) -> ReconcileCounts:
        """Request the collection of content that no kept sync names, for sessions where it is due."""
        found, refused = await self._collections.request_due(BATCH, context)
        return await self._finished("collections", found, refused, context)

    async def expire_questions(self, context: CommandContext) -> ReconcileCounts:
        """Expire open questions whose time is over."""
        now = self._clock()
        failed: list[str] = []
        expired: list[Found] = []
        found = await self._questions.expired_questions(now=now, limit=BATCH)
        for run_id, question_id in found:
            item = context.caused_by(context.command_id, f"{context.command_id}/{run_id}/{question_id}")
            try:
                if (await self._runs.expire_question(run_id, question_id, now, item)).events:
                    expired.append(Found(run_id=run_id, about={"questionId": question_id}))
            except DomainError as error:
                failed.append(run_id)
                log.info(
                    "question %s of run %s did not expire: %s", question_id, run_id, error, extra={"runId": run_id}
                )
        self._repairs.of_round(EXPIRED_QUESTION, context, *expired)
        return await self._finished("questions", [run_id for run_id, _ in found], failed, context)

    async def end_overdue_runs(self, context: CommandContext) -> ReconcileCounts:
        """End external runs of which nothing was reported for too long, or that go on for too long."""
        now, limits = self._clock(), self._external_run_limits
        failed: list[str] = []
        ended: list[Found] = []
        found = await self._external_runs.overdue_external_runs(
            bound_before=now - limits.run if limits.run else None,
            silent_before=now - limits.silence if limits.silence else None,
            limit=BATCH,
        )
        for run_id in found:
            try:
                item = context.caused_by(context.command_id, f"{context.command_id}/{run_id}/overdue")
                if (await self._runs.end_overdue(run_id, now, limits, item)).events:
                    ended.append(Found(run_id=run_id))
            except DomainError as error:
                failed.append(run_id)
                log.info("external run %s was not ended: %s", run_id, error, extra={"runId": run_id})
        self._repairs.of_round(OUTSIDE_RUN, context, *ended)
        return await self._finished("runs", found, failed, context)

    async def _finished(
        self,
        what: Literal["syncs", "questions", "effects", "collections", "runs"],
        subjects: list[str],
        failed: list[str],
        context: CommandContext,
    ) -> ReconcileCounts:
        acted = len(subjects) - len(failed)
        finished = ReconcileFinished(
            what=what, examined=len(subjects), acted=acted, failed=len(failed), subjects=first_subjects(subjects)
        )
        position = await self._reconcile_log.record(finished, context)
        return ReconcileCounts(examined=len(subjects), acted=acted, failed=len(failed), position=position)

"""Reconciles the run queue with the log: missing rows are restored from the runs' events."""

from application.aggregates.reconcile_log import ReconcileLog, first_subjects
from application.command_context import CommandContext
from application.ports.event_store import EventStore
from application.ports.operations import ReconcileCounts
from application.ports.run_queue import EXTERNAL_RUN_ATTEMPTS, LostRun, RunQueue, external_run_key
from application.repairs.kinds import LOST_QUEUE_PLACE, LOST_QUEUE_ROW
from application.repairs.said import UNCOUNTED, Repairs, runs_of
from application.runs.commands import Runs
from domain.identifiers import run_stream
from domain.operations.events import ReconcileFinished
from domain.run.queue_share import QueueShare, share_of
from domain.run.state import Active, Finishing, Queued


class ReconcileRunQueue:
    """Puts unfinished runs that have no row in the queue (deleted by hand, say) back into it.

    Everything in a row follows from the log. The restored row continues after the last lease generation in the log, and
    the run worker that claims it resumes the run where the log stands.
    """

    def __init__(
        self,
        *,
        runs: Runs,
        queue: RunQueue,
        store: EventStore,
        reconcile_log: ReconcileLog,
        repairs: Repairs = UNCOUNTED,
    ) -> None:
        self._repairs = repairs
        self._runs, self._queue, self._store, self._reconcile_log = runs, queue, store, reconcile_log

    async def reconcile(self, limit: int, context: CommandContext) -> ReconcileCounts:
        """Restores at most `limit` rows, lets runs be claimed that could not be, and records the outcome as
        `reconcile.finished`."""
        restored: list[str] = []
        for run_id in await self._queue.missing(limit):
            lost = await self._lost_run(run_id)
            if lost is not None and await self._queue.restore(lost):
                restored.append(run_id)
        lined_up = await self._queue.line_up_lost(limit)
        self._repairs.of_round(LOST_QUEUE_ROW, context, *runs_of(restored))
        self._repairs.of_round(LOST_QUEUE_PLACE, context, *runs_of(lined_up))
        restored += lined_up
        finished = ReconcileFinished(
            what="runs", examined=len(restored), acted=len(restored), subjects=first_subjects(restored)
        )
        context = context.caused_by(context.command_id, f"{context.command_id}/restored")
        position = await self._reconcile_log.record(finished, context)
        return ReconcileCounts(examined=len(restored), acted=len(restored), position=position)

    async def _lost_run(self, run_id: str) -> LostRun | None:
        """The missing row; None for a run that has ended (the read model was behind), or an external one that others
        still execute."""
        run = (await self._runs.load(run_id)).state
        if run is None or not isinstance(run.stage, Queued | Active | Finishing):
            return None
        if run.spec is None and not isinstance(run.stage, Finishing):
            return None
        (queued,) = await self._store.read_stream(run_stream(run_id), limit=1)
        return LostRun(
            run_id=run_id,
            session_id=run.session_id if run.spec else external_run_key(run_id),
            position=queued.position,
            attempts=run.attempt,
            max_attempts=run.spec.max_attempts if run.spec else EXTERNAL_RUN_ATTEMPTS,
            lease_generation=run.lease_generation + 1,  # the row may have been claimed without an event of it yet
            share=share_of(run.spec) if run.spec else QueueShare(),
            available_at=run.stage.available_at if isinstance(run.stage, Queued) else None,
        )

"""Runs that the queue has lost: their rows are made again from the log."""

from application.command_context import CommandContext
from application.findings import Findings, few
from application.operations import ReconcileCounts
from application.ports import EventStore
from application.run_commands import Runs
from application.run_queue import LostRun, RunQueue
from domain.identifiers import run_stream
from domain.operations.events import ReconcileFinished
from domain.run.state import Active, Finishing, Queued


class RestoreMissingRuns:
    """A row of the queue that was deleted by hand, say, held nothing that the log does not tell: the run enters the
    queue again, with the last lease that the log knows of, and whoever claims it goes on where it stands."""

    def __init__(self, *, runs: Runs, queue: RunQueue, store: EventStore, findings: Findings) -> None:
        self._runs, self._queue, self._store, self._findings = runs, queue, store, findings

    async def restore(self, limit: int, context: CommandContext) -> ReconcileCounts:
        restored: list[str] = []
        for run_id in await self._queue.missing(limit):
            lost = await self._as_the_log_has_it(run_id)
            if lost is not None and await self._queue.restore(lost):
                restored.append(run_id)
        finding = ReconcileFinished(what="runs", examined=len(restored), acted=len(restored), subjects=few(restored))
        context = context.caused_by(context.command_id, f"{context.command_id}/restored")
        position = await self._findings.record(finding, context)
        return ReconcileCounts(examined=len(restored), acted=len(restored), position=position)

    async def _as_the_log_has_it(self, run_id: str) -> LostRun | None:
        """None for a run that has ended; the read model was behind."""
        run = (await self._runs.load(run_id)).state
        if run is None or run.spec is None or not isinstance(run.stage, Queued | Active | Finishing):
            return None
        (queued,) = await self._store.read_stream(run_stream(run_id), limit=1)
        return LostRun(
            run_id=run_id,
            session_id=run.session_id,
            position=queued.position,
            attempts=run.attempt,
            max_attempts=run.spec.max_attempts,
            lease_generation=run.lease_generation + 1,  # whoever had the row may have claimed it without a word yet
            available_at=run.stage.available_at if isinstance(run.stage, Queued) else None,
        )

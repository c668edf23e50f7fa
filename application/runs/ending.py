"""The end of a run: the final sync, the record of its export, run.finished, and the run detached from its session.

The run worker syncs at once. The effect ledger gets the same sync, due a few seconds later, in case the run worker dies
or the executor does not answer; that effect is obsolete as soon as the sync is recorded.
"""

import asyncio
import contextlib
import logging

from application.aggregates.command_sequence import Step, handle_sequence
from application.aggregates.waiting import wait_for_state
from application.command_context import CommandContext
from application.executor_protocol import OVER_QUOTA
from application.ports.effect_handler import EffectObsolete
from application.ports.executor import ExecutorError
from application.runs.execution_context import ExecutionContext
from application.runs.lease import final_sync_id
from application.runs.models import model_is_down
from application.sessions.session_workers import LoadedWorker
from domain.errors import Conflict, DomainError, NotFound
from domain.identifiers import session_stream
from domain.run.commands import BeginFinalSync, FinishRun, RecordExported, RunCommand
from domain.run.state import Active, Finishing, Run
from domain.run.values import Warn
from domain.session.commands import DetachRun, RecordSyncFailed, RequestSync
from domain.session.state import Running, SessionWorker
from domain.workspace.sync import SyncRef

log = logging.getLogger(__name__)
FINAL_SYNC_TIMEOUT_S = 900.0
LAST_LOOK_S = 5.0
"""Seconds to wait for a sync that another process may have recorded, even after the deadline."""


class EndRun:
    """Ends a run whose agent has ended. `detached`: the run was detached from its session in the same commit."""

    def __init__(self, execution: ExecutionContext) -> None:
        self._execution, self._run_id, self._lease = execution, execution.run_id, execution.lease.generation
        self._runs, self._workers = execution.ports.runs, execution.ports.workers
        self._sessions = execution.ports.workers.sessions
        self.detached = False
        self._deadline = 0.0

    async def to_its_end(self, run: Run, stage: Finishing) -> Run:
        """The run after its end, or waiting for its next attempt. If the final sync exceeds its limit, the run ends
        without an export, with a warning."""
        self._deadline = asyncio.get_running_loop().time() + FINAL_SYNC_TIMEOUT_S
        if stage.by_callback and not run.is_external and not stage.exported:
            await self._end_agent(run.session_id)
        sync_id = stage.sync_id or final_sync_id(self._run_id, run.attempt)
        if not stage.sync_id:
            begin = BeginFinalSync(lease_generation=self._lease, sync_id=sync_id)
            run = await self._execution.handle(begin, "syncing")
        warning: Warn | None = None
        commands: list[tuple[RunCommand, str]] = []
        if not stage.exported:
            ended = await self._synced_and_ended(run, sync_id)
            if ended is not None:
                return ended
            try:
                settled = await self._settled(run.session_id, sync_id)
                commands.append((RecordExported(lease_generation=self._lease, sync=settled), ""))
            except (_NotExported, NotFound, Conflict) as error:
                message = f"the workspace was not exported after the run: {error}"
                warning = Warn(code="not_exported", message=message)
        commands.append((self._finish(run, warning), ""))
        return (await self._runs.handle_batch(self._run_id, commands, self._context("finished"))).state

    async def _end_agent(self, session_id: str) -> None:
        """A callback has reported the end: the agent must not run during the final sync and the next run."""
        try:
            worker = await self._workers.find(session_id)
            await self._workers.executor(worker, self._run_id).stop_run(self._run_id)
        except (ExecutorError, EffectObsolete) as error:
            log.warning("run %s: its agent could not be stopped: %s", self._run_id, error)

    async def _synced_and_ended(self, run: Run, sync_id: str) -> Run | None:
        """Sync now; record the sync, its export and the run's end in one commit. None if the effect worker is to
        sync."""
        session_id = run.session_id
        try:
            session = await self._requested(session_id, sync_id)
            if session.settled_sync(sync_id) is not None or session.collection_id:
                return None  # nothing is synced while content is collected; the effect worker waits for that
            worker = await self._workers.recent(session_id)
        except (NotFound, Conflict, EffectObsolete) as error:
            log.info("run %s: it can't be synced at once: %s", self._run_id, error)
            return None
        try:
            async with asyncio.timeout_at(self._deadline):
                synced = await self._execution.ports.syncs.perform(worker, sync_id, self._context)
        except EffectObsolete:
            return None  # it has just been done elsewhere
        except TimeoutError:
            log.warning("run %s: its final sync got no answer within %g s", self._run_id, FINAL_SYNC_TIMEOUT_S)
            return None
        except ExecutorError as error:
            log.warning("run %s: its final sync failed and is left to the effect worker: %s", self._run_id, error)
            await self._record_failed_sync(worker, sync_id, error)
            return None

        def is_settled(session: SessionWorker) -> bool:
            settled = session.settled_sync(sync_id)
            return settled is not None and settled.sync == synced.sync

        exported = RecordExported(lease_generation=self._lease, sync=synced.sync)
        steps = (
            Step(
                aggregates=self._sessions,
                key=session_id,
                commands=[(synced, "")],
                context=self._context("synced"),
                may_be_refused=True,
            ),
            Step(
                aggregates=self._runs,
                key=self._run_id,
                commands=[(exported, ""), (self._finish(run, None), "")],
                context=self._context("finished"),
                when=is_settled,
            ),
            Step(
                aggregates=self._sessions,
                key=session_id,
                commands=[(DetachRun(run_id=self._run_id), "")],
                context=self._context("detach"),
                when=lambda run: not isinstance(run.stage, Active | Finishing),
                may_be_refused=True,
            ),
        )
        handled = await handle_sequence(steps)
        self.detached = len(handled) == len(steps)
        return handled[1].state if len(handled) > 1 else None

    async def _record_failed_sync(self, worker: LoadedWorker, sync_id: str, error: ExecutorError) -> None:
        command = RecordSyncFailed(
            generation=worker.state.generation,
            sync_id=sync_id,
            error=str(error),
            attempt=1,
            final=error.reason == OVER_QUOTA,
        )
        with contextlib.suppress(DomainError):
            await self._sessions.handle(worker.session_id, command, self._context("sync_failed"))

    async def _requested(self, session_id: str, sync_id: str) -> SessionWorker:
        """The session after the sync is requested. Raises NotFound, or Conflict when its worker does not run."""
        state = (await self._sessions.recent(session_id)).state
        if state is None:
            raise NotFound(f"no session {session_id} is known")
        if state.settled_sync(sync_id) is None and all(sync.sync_id != sync_id for sync in state.pending_syncs):
            request = final_sync_request(self._run_id, sync_id)
            state = (await self._sessions.handle(session_id, request, self._context("request_sync"))).state
        return state

    async def _settled(self, session_id: str, sync_id: str) -> SyncRef:
        """The recorded result of the sync, whoever did it. Raises as `_requested` does, or _NotExported."""
        await self._requested(session_id, sync_id)
        loaded = await wait_for_state(
            self._sessions,
            self._execution.ports.tail,
            key=session_id,
            stream=session_stream(session_id),
            reached=lambda state: (
                state is not None
                and (state.settled_sync(sync_id) is not None or not isinstance(state.lifecycle, Running))
            ),
            timeout_s=max(self._deadline - asyncio.get_running_loop().time(), LAST_LOOK_S),
            seen=True,
        )
        if loaded is None or loaded.state is None:
            raise _NotExported("the final sync did not end in time")
        settled = loaded.state.settled_sync(sync_id)
        if settled is None:
            raise _NotExported(f"the session's worker is {loaded.state.public_state}")
        if settled.sync is None:
            raise _NotExported(settled.error)
        return settled.sync

    def _finish(self, run: Run, warning: Warn | None) -> FinishRun:
        retry_at = self._execution.retry_at(run.attempt)
        excused = model_is_down(self._execution.ports.outages, run)
        return FinishRun(lease_generation=self._lease, warning=warning, retry_at=retry_at, excused=excused)

    def _context(self, step: str) -> CommandContext:
        return self._execution.command_context(step)


def final_sync_request(run_id: str, sync_id: str) -> RequestSync:
    return RequestSync(sync_id=sync_id, reason="run.finished", run_id=run_id)


class _NotExported(Exception):
    """The workspace could not be synced after the run; the text says why."""

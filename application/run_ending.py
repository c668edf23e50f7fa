"""The end of a run: the final sync, what it exported, run.finished, and letting go of the session.

The final sync is done at once by whoever executes the run. The ledger has it too, a moment later, for when this process
dies at it or the executor does not answer: what it wants is obsolete as soon as the sync is recorded.
"""

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from application.command_context import CommandContext
from application.commands_in_turn import Step, handle_in_turn
from application.effects.effect import EffectObsolete
from application.effects.workers import Worker
from application.ports import ExecutorError
from application.run_queue import RunLease, final_sync_id, run_context
from application.waiting import wait_for_state
from domain.errors import Conflict, DomainError, NotFound
from domain.identifiers import session_stream
from domain.run.commands import BeginFinalSync, FinishRun, RecordExported, RunCommand
from domain.run.state import Active, Finishing, Run
from domain.run.values import Warn
from domain.session.commands import DetachRun, RecordSyncFailed, RequestSync
from domain.session.state import Running, SessionWorker
from domain.workspace.sync import SyncRef

if TYPE_CHECKING:
    from application.run_execution import RunExecutions

log = logging.getLogger(__name__)
FINAL_SYNC_TIMEOUT_S = 900.0
LAST_LOOK_S = 5.0
"""For what another may have synced while no answer came here."""


class EndRun:
    """One run whose agent has ended. `detached`: the session was let go of, too."""

    def __init__(self, parts: "RunExecutions", lease: RunLease) -> None:
        self._parts, self._lease, self._run_id = parts, lease, lease.run_id
        self._runs, self._workers, self._sessions = parts.runs, parts.workers, parts.workers.sessions
        self.detached = False
        self._deadline = 0.0

    async def to_its_end(self, run: Run, stage: Finishing) -> Run:
        """The run as it has ended, or waits for its next attempt. Past the limit of its final sync it ends without an
        export, with a warning."""
        self._deadline = asyncio.get_running_loop().time() + FINAL_SYNC_TIMEOUT_S
        if stage.by_callback and not run.outside and not stage.exported:
            await self._end_agent(run.session_id)
        lease = self._lease.generation
        sync_id = stage.sync_id or final_sync_id(self._run_id, run.attempt)
        if not stage.sync_id:
            begin = BeginFinalSync(lease_generation=lease, sync_id=sync_id)
            run = (await self._runs.handle(self._run_id, begin, self._context("syncing"))).state
        warning: Warn | None = None
        commands: list[tuple[RunCommand, str]] = []
        if not stage.exported:
            ended = await self._synced_and_ended(run, sync_id)
            if ended is not None:
                return ended
            try:
                settled = await self._settled(run.session_id, sync_id)
                commands.append((RecordExported(lease_generation=lease, sync=settled), ""))
            except (_NotExported, NotFound, Conflict) as error:
                message = f"the workspace was not exported after the run: {error}"
                warning = Warn(code="not_exported", message=message)
        commands.append((self._finish(run, warning), ""))
        return (await self._runs.handle_batch(self._run_id, commands, self._context("finished"))).state

    async def _end_agent(self, session_id: str) -> None:
        """A callback has ended the run; its agent must not go on beside the final sync and the session's next run."""
        try:
            worker = await self._workers.find(session_id)
            await self._workers.executor(worker, self._run_id).stop_run(self._run_id)
        except (ExecutorError, EffectObsolete) as error:
            log.warning("run %s: its agent could not be stopped: %s", self._run_id, error)

    async def _synced_and_ended(self, run: Run, sync_id: str) -> Run | None:
        """The short way: sync, and record all that follows from it. None when it leads nowhere."""
        session_id = run.session_id
        try:
            session = await self._requested(session_id, sync_id)
            if session.settled_sync(sync_id) is not None or session.collection_id:
                return None  # nothing is synced while content is collected: the effect worker waits for its turn
            worker = await self._workers.recent(session_id)
        except (NotFound, Conflict, EffectObsolete) as error:
            log.info("run %s: it can't be synced at once: %s", self._run_id, error)
            return None
        try:
            async with asyncio.timeout_at(self._deadline):
                synced = await self._parts.syncs.made(worker, sync_id, self._context)
        except EffectObsolete:
            return None  # another has just done it
        except TimeoutError:
            log.warning("run %s: its final sync got no answer within %g s", self._run_id, FINAL_SYNC_TIMEOUT_S)
            return None
        except ExecutorError as error:
            log.warning("run %s: its final sync failed and is left to the effect worker: %s", self._run_id, error)
            await self._record_failed_sync(worker, sync_id, str(error))
            return None

        def is_settled(session: SessionWorker) -> bool:
            settled = session.settled_sync(sync_id)
            return settled is not None and settled.sync == synced.sync

        exported = RecordExported(lease_generation=self._lease.generation, sync=synced.sync)
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
        handled = await handle_in_turn(steps)
        self.detached = len(handled) == len(steps)
        return handled[1].state if len(handled) > 1 else None

    async def _record_failed_sync(self, worker: Worker, sync_id: str, error: str) -> None:
        command = RecordSyncFailed(
            generation=worker.state.generation, sync_id=sync_id, error=error, attempt=1, final=False
        )
        with contextlib.suppress(DomainError):
            await self._sessions.handle(worker.session_id, command, self._context("sync_failed"))

    async def _requested(self, session_id: str, sync_id: str) -> SessionWorker:
        """The session that knows of the sync. Raises NotFound, or Conflict when its worker does not run."""
        state = (await self._sessions.recent(session_id)).state
        if state is None:
            raise NotFound(f"no session {session_id} is known")
        if state.settled_sync(sync_id) is None and all(sync.sync_id != sync_id for sync in state.pending_syncs):
            request = final_sync_request(self._run_id, sync_id)
            state = (await self._sessions.handle(session_id, request, self._context("request_sync"))).state
        return state

    async def _settled(self, session_id: str, sync_id: str) -> SyncRef:
        """What was synced, by whomever. Raises as `_requested` does, or _NotExported."""
        await self._requested(session_id, sync_id)
        loaded = await wait_for_state(
            self._sessions,
            self._parts.tail,
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
        retry_at = self._parts.clock() + self._parts.delay(run.attempt)
        return FinishRun(lease_generation=self._lease.generation, warning=warning, retry_at=retry_at)

    def _context(self, step: str) -> CommandContext:
        return run_context(self._lease, step)


def final_sync_request(run_id: str, sync_id: str) -> RequestSync:
    return RequestSync(sync_id=sync_id, reason="run.finished", run_id=run_id)


class _NotExported(Exception):
    """The workspace could not be synced after the run; the text says why."""

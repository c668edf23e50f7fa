"""The commands that callers send to session workers. Effects are performed elsewhere; each command waits for its effect
for a bounded time."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import msgspec

from application.aggregates.aggregates import Aggregates, Clock, CommandResult, Loaded
from application.aggregates.waiting import wait_for_state
from application.command_context import CommandContext
from application.ports.housekeeping import HousekeepingCandidates
from application.ports.log_tail import LogTail
from domain.errors import Conflict, DomainError, NotFound, RunAttached
from domain.identifiers import session_stream
from domain.session.commands import (
    ActivateSession,
    DiscardWorkspace,
    RemoveSession,
    RequestRestore,
    RequestSync,
    SessionCommand,
    StopSession,
)
from domain.session.events import ActivationAction, StopReason
from domain.session.state import Removing, Running, SessionWorker, Stopped, Stopping
from domain.workspace.sync import SyncReason, SyncRef

DETACH_TIMEOUT_S = 10.0
CLEANED_AT_ONCE = 10
Sessions = Aggregates[SessionWorker, SessionCommand]


class SessionCommandOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """The session after a command. `pending`: the effect was still under way when the wait ended. `position`: reads
    with this minPosition show what the command did."""

    state: SessionWorker
    position: int
    pending: bool = False
    action: ActivationAction | None = None


class CleanupCounts(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Of `total` candidates. `skipped`: by the time of the command the session no longer met the condition (it was
    active again, or had a run)."""

    total: int = 0
    succeeded: int = 0
    skipped: int = 0
    failed: int = 0
    position: int = 0


class ActivationRefused(Conflict):
    """The activation failed; `missing_required_paths` names what validation did not find."""

    reason = "activation_failed"

    def __init__(self, message: str, missing: tuple[str, ...]) -> None:
        super().__init__(message, "required_paths_missing" if missing else None)
        self.missing_required_paths = missing


class RestoreWasCanceled(Conflict):
    """A message came, or a gate sync failed, before the worker was removed."""

    reason = "restore_canceled"


class SyncRefused(Conflict):
    """The sync failed; the message says why."""

    reason = "sync_failed"


class SessionCommands:
    """Every method takes `wait_s`, the longest time to wait for the effect."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        tail: LogTail,
        ensure_up: Callable[[str, Callable[[str], CommandContext]], Awaitable[bool]],
        run_is_not_executing: Callable[[str], Awaitable[bool]],
        candidates: HousekeepingCandidates,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        self._sessions, self._tail, self._candidates = sessions, tail, candidates
        self._clock, self._new_id = clock, new_id
        self._ensure_up, self._run_is_not_executing = ensure_up, run_is_not_executing

    async def get(self, session_id: str) -> Loaded[SessionWorker]:
        """The state according to the log. Raises NotFound."""
        loaded = await self._sessions.load(session_id)
        if loaded.state is None:
            raise NotFound(f"no session {session_id!r} is known")
        return loaded

    async def activate(
        self, command: ActivateSession, context: CommandContext, *, wait_s: float
    ) -> SessionCommandOutcome:
        """Make the session worker run. If it does according to the log, its container is checked: it may be
        gone. Raises InvalidInput, IdentityConflict, ActivationRefused, and what `ensure_up` raises."""
        handled = await self._sessions.handle(command.session_id, command, context)
        if isinstance(handled.state.lifecycle, Running):
            if await self._ensure_up(command.session_id, lambda step: _step(context, step)):
                return SessionCommandOutcome(state=handled.state, position=handled.position, action="already_running")
            handled = await self._sessions.handle(command.session_id, command, _step(context, "again"))
        outcome = await self._wait(command.session_id, _activation_ended, handled, wait_s)
        if outcome.pending:
            return outcome
        if not isinstance(outcome.state.lifecycle, Running):
            state = outcome.state
            raise ActivationRefused(state.last_error or "the worker was stopped again", state.last_missing_paths)
        return msgspec.structs.replace(outcome, action=outcome.state.last_action)

    async def stop(
        self,
        session_id: str,
        context: CommandContext,
        *,
        wait_s: float,
        reason: StopReason = "user_close",
        idle_before: datetime | None = None,
    ) -> SessionCommandOutcome:
        """Sync, then stop. Succeeds for a worker that is stopped or deleted. Raises NotFound, RunAttached,
        SyncRefused."""
        command = StopSession(reason=reason, sync_id=self._new_id(), idle_before=idle_before)
        handled = await self._handle_detached(session_id, command, context, wait_s)

        def reached(state: SessionWorker | None) -> bool:
            match state.lifecycle if state else None:
                case Running(stop=stop):
                    return stop is None
                case Stopping():
                    return False
                case _:
                    return True

        outcome = await self._wait(session_id, reached, handled, wait_s)
        wanted = bool(handled.events) or _gate_pending(handled.state)
        if wanted and not outcome.pending and isinstance(outcome.state.lifecycle, Running):
            error = outcome.state.last_sync_error
            raise SyncRefused(f"the worker was not stopped: {error or 'a message came in between'}")
        return outcome

    async def sync(
        self, session_id: str, context: CommandContext, *, wait_s: float, reason: SyncReason = "manual"
    ) -> SessionCommandOutcome:
        """Sync the workspace of a running worker. Raises NotFound, Conflict `not_running`, SyncRefused."""
        sync_id = self._new_id()
        handled = await self._sessions.handle(session_id, RequestSync(sync_id=sync_id, reason=reason), context)

        def reached(state: SessionWorker | None) -> bool:
            return state is not None and all(sync.sync_id != sync_id for sync in state.pending_syncs)

        outcome = await self._wait(session_id, reached, handled, wait_s)
        ended = outcome.state.settled_sync(sync_id)
        if ended is not None and ended.sync is None:
            raise SyncRefused(ended.error)
        return outcome

    async def remove(
        self, session_id: str, context: CommandContext, *, wait_s: float, stopped_before: datetime | None = None
    ) -> SessionCommandOutcome:
        """Sync a stopped worker once more in maintenance, then remove its container."""
        command = RemoveSession(sync_id=self._new_id(), stopped_before=stopped_before)
        handled = await self._handle_detached(session_id, command, context, wait_s)

        def reached(state: SessionWorker | None) -> bool:
            match state.lifecycle if state else None:
                case Stopped(remove=remove):
                    return remove is None
                case Removing():
                    return False
                case Stopping(stopped_since=since):
                    return since is None
                case _:
                    return True

        outcome = await self._wait(session_id, reached, handled, wait_s)
        wanted = bool(handled.events) or _gate_pending(handled.state)
        if wanted and not outcome.pending and isinstance(outcome.state.lifecycle, Stopped):
            error = outcome.state.last_sync_error
            raise SyncRefused(f"the worker was not removed: {error or 'a message came in between'}")
        return outcome

    async def discard(
        self, session_id: str, reason: str, context: CommandContext, *, wait_s: float
    ) -> SessionCommandOutcome:
        """Remove the worker's container without a sync: what it holds since the last recorded sync is given up.
        Succeeds for a worker that is deleted. Raises NotFound, RunAttached, Conflict `activating`, `stopping`."""
        handled = await self._handle_detached(session_id, DiscardWorkspace(reason=reason), context, wait_s)

        def reached(state: SessionWorker | None) -> bool:
            return state is not None and not isinstance(state.lifecycle, Removing)

        return await self._wait(session_id, reached, handled, wait_s)

    async def restore(
        self,
        session_id: str,
        sync: SyncRef,
        sync_position: int,
        superseded_at: datetime | None,
        context: CommandContext,
        *,
        wait_s: float,
    ) -> SessionCommandOutcome:
        """Replace the workspace by that of a recorded sync. The present one is synced first, by the gates of the
        worker's stop and removal; a worker that was running is started again. All of it goes on after the wait. Raises
        NotFound, InvalidInput, Conflict (RunAttached; `activating`, `sync_not_kept`, `restore_under_way`,
        `restore_canceled`), ActivationRefused."""
        command = RequestRestore(
            sync=sync, sync_position=sync_position, superseded_at=superseded_at, sync_id=self._new_id()
        )
        handled = await self._handle_detached(session_id, command, context, wait_s)
        restoring = handled.state.restoring
        if restoring is None:
            return SessionCommandOutcome(state=handled.state, position=handled.position)

        def reached(state: SessionWorker | None) -> bool:
            return (
                state is not None
                and state.restoring is None
                and (state.restore_error != "" or not state.activation_pending)
            )

        outcome = await self._wait(session_id, reached, handled, wait_s)
        if outcome.pending:
            return outcome
        if outcome.state.restore_error:
            reason = outcome.state.last_sync_error or outcome.state.restore_error
            raise RestoreWasCanceled(f"the workspace is what it was: the worker was not taken down ({reason})")
        if restoring.reactivate and not isinstance(outcome.state.lifecycle, Running):
            error = outcome.state.last_error or "the worker was stopped again"
            raise ActivationRefused(error, outcome.state.last_missing_paths)
        return outcome

    async def cleanup_idle(
        self, *, idle_timeout: timedelta, limit: int, context: CommandContext, wait_s: float, failing_too: bool = True
    ) -> CleanupCounts:
        """Stop workers that were idle for longer than `idle_timeout`, at most `limit`. `failing_too`: also those whose
        last sync failed just now."""
        before = self._clock() - idle_timeout
        found = await self._candidates.idle_workers(idle_before=before, limit=limit, failing_too=failing_too)

        async def stop(session_id: str, item: CommandContext) -> SessionCommandOutcome:
            return await self.stop(session_id, item, wait_s=wait_s, reason="idle", idle_before=before)

        return await self._each(found, stop, context, done=("stopped", "deleted"))

    async def cleanup_stopped(
        self, *, remove_after: timedelta, limit: int, context: CommandContext, wait_s: float, failing_too: bool = True
    ) -> CleanupCounts:
        """Remove workers that were stopped for longer than `remove_after`, at most `limit`. `failing_too` as above."""
        before = self._clock() - remove_after
        found = await self._candidates.stopped_workers(stopped_before=before, limit=limit, failing_too=failing_too)

        async def remove(session_id: str, item: CommandContext) -> SessionCommandOutcome:
            return await self.remove(session_id, item, wait_s=wait_s, stopped_before=before)

        return await self._each(found, remove, context, done=("deleted",))

    async def _handle_detached(
        self,
        session_id: str,
        command: StopSession | RemoveSession | RequestRestore | DiscardWorkspace,
        context: CommandContext,
        wait_s: float,
    ) -> CommandResult[SessionWorker]:
        """Handle a command that an attached run forbids. For runs that nobody executes, the detach is waited for."""
        try:
            return await self._sessions.handle(session_id, command, context)
        except RunAttached:
            attached = (await self.get(session_id)).state
            if attached is None or not all([await self._run_is_not_executing(run) for run in attached.attached_runs]):
                raise
        await wait_for_state(
            self._sessions,
            self._tail,
            key=session_id,
            stream=session_stream(session_id),
            reached=lambda state: state is not None and not state.attached_runs,
            timeout_s=min(wait_s, DETACH_TIMEOUT_S),
        )
        return await self._sessions.handle(session_id, command, context)

    async def _each(
        self,
        session_ids: list[str],
        act: Callable[[str, CommandContext], Awaitable[SessionCommandOutcome]],
        context: CommandContext,
        done: tuple[str, ...],
    ) -> CleanupCounts:
        """Act on each session, CLEANED_AT_ONCE at a time; one that fails affects no other."""
        slots = asyncio.Semaphore(CLEANED_AT_ONCE)

        async def one(session_id: str) -> CleanupCounts:
            item = context.caused_by(context.command_id, f"{context.command_id}/{session_id}")
            async with slots:
                try:
                    outcome = await act(session_id, item)
                except Conflict as error:
                    refused = isinstance(error, SyncRefused)
                    return CleanupCounts(skipped=int(not refused), failed=int(refused))
                except DomainError:
                    return CleanupCounts(failed=1)
            reached = outcome.state.public_state in done
            return CleanupCounts(succeeded=int(reached), skipped=int(not reached), position=outcome.position)

        async with asyncio.TaskGroup() as tasks:
            cleaning = [tasks.create_task(one(session_id), name=f"clean up {session_id}") for session_id in session_ids]
        counts = [task.result() for task in cleaning]
        return CleanupCounts(
            total=len(session_ids),
            succeeded=sum(count.succeeded for count in counts),
            skipped=sum(count.skipped for count in counts),
            failed=sum(count.failed for count in counts),
            position=max((count.position for count in counts), default=0),
        )

    async def _wait(
        self,
        session_id: str,
        reached: Callable[[SessionWorker | None], bool],
        handled: CommandResult[SessionWorker],
        wait_s: float,
    ) -> SessionCommandOutcome:
        loaded = await wait_for_state(
            self._sessions,
            self._tail,
            key=session_id,
            stream=session_stream(session_id),
            reached=reached,
            timeout_s=wait_s,
        )
        if loaded is None or loaded.state is None:
            return SessionCommandOutcome(state=handled.state, position=handled.position, pending=True)
        return SessionCommandOutcome(state=loaded.state, position=loaded.position)


def _step(context: CommandContext, step: str) -> CommandContext:
    return context.caused_by(context.command_id, f"{context.command_id}:{step}")


def _gate_pending(state: SessionWorker) -> bool:
    """Whether a stop or a removal is under way that may still be canceled, also one that somebody else asked for."""
    match state.lifecycle:
        case Running(stop=gate) | Stopped(remove=gate):
            return gate is not None
        case _:
            return False


def _activation_ended(state: SessionWorker | None) -> bool:
    return state is not None and not state.activation_pending

"""The commands that process managers send to sessions, each once: its id derives from the event that led to it.

The commands of a page go to several sessions at a time, those to one session in the order of the log, and share
commits. A command that is refused is recorded as such and not sent again. A page waits for ANSWER_S seconds at most:
what a session has not answered by then is for the caller to keep, and to send again.
"""

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Container, Sequence
from functools import partial
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from application.aggregates.aggregates import Aggregates, Clock
from application.command_context import CommandContext
from application.ports.event_store import EventStore
from application.process_managers.outcomes import Outcome, RunDetached, SendToSession
from application.runs.commands import Runs
from application.sessions.commands import Sessions
from application.task_cancellation import cancel_and_wait
from domain.errors import Conflict, DomainError, NotFound
from domain.identifiers import session_stream
from domain.operations import refused_commands
from domain.operations.refused_commands import RecordRefusal, RefusedCommands
from domain.record import RecordedEvent
from domain.run.state import Active, Finishing
from domain.session.commands import AttachRun, DetachRun

log = logging.getLogger(__name__)
SESSIONS_AT_ONCE = 32
COMMAND_TIMEOUT_S = 30.0
ANSWER_S = 1.0
"""How long a page waits for the answers to its commands."""
CausedCommand = tuple[RecordedEvent, SendToSession]
"""A command and the event that led to it."""
Result = TypeVar("Result")


class CommandsUnavailable(Exception):
    """The log can't be read or written now: the whole page is to be sent again later."""


class SessionBusy(Exception):
    """One session doesn't answer, or others write to it all the time: its command is to be sent again later."""


class FailedCommand(msgspec.Struct, frozen=True, kw_only=True):
    """A command that failed in an unexpected way, and the event that led to it."""

    event: RecordedEvent
    error: Exception


class CommandToSession(msgspec.Struct, frozen=True, kw_only=True):
    """A command, the event that led to it, and the session that it goes to."""

    event: RecordedEvent
    command: SendToSession
    session_id: str


class SentPage(msgspec.Struct, frozen=True, kw_only=True):
    """`failed`: the failed command with the lowest position, if any. `unanswered`: those before it that their session
    has not answered in time, in the order of the log."""

    failed: FailedCommand | None = None
    unanswered: tuple[CommandToSession, ...] = ()


class ProcessManagerCommands:
    """`unavailable`: the errors of an event store that can't be reached."""

    def __init__(
        self,
        *,
        runs: Runs,
        sessions: Sessions,
        store: EventStore,
        clock: Clock,
        unavailable: tuple[type[Exception], ...] = (),
    ) -> None:
        self._runs, self._sessions = runs, sessions
        self._unavailable: tuple[type[Exception], ...] = (*unavailable, TimeoutError)
        self._recording = asyncio.Lock()
        self._refused: Aggregates[RefusedCommands, RecordRefusal] = Aggregates(
            store=store,
            clock=clock,
            stream_of=refused_commands.refused_commands_stream,
            decide=refused_commands.decide,
            evolve=refused_commands.evolve,
        )

    async def send_page(
        self, process_manager: str, commands: Sequence[CausedCommand], waiting: Container[str] = ()
    ) -> SentPage:
        """Send a page's commands, and record refusals. After a failed one, the later ones to its session are not sent;
        all others are. `waiting`: the sessions that commands of earlier pages wait for: nothing is sent to them. Raises
        CommandsUnavailable."""
        turns = asyncio.Semaphore(SESSIONS_AT_ONCE)
        by_session, failed = await self._by_session(turns, commands)

        async def send_in_order(unanswered: deque[CommandToSession]) -> None:
            while unanswered:
                try:
                    async with turns:
                        await self.deliver(process_manager, unanswered[0])
                except SessionBusy:
                    return
                except Exception as error:  # noqa: BLE001  # whatever it is, it stops this process manager alone
                    failed.append(FailedCommand(event=unanswered[0].event, error=error))
                    return
                unanswered.popleft()

        sending = [
            asyncio.create_task(send_in_order(unanswered), name=f"commands to {session_stream(session_id)}")
            for session_id, unanswered in by_session.items()
            if session_id not in waiting
        ]
        try:
            if sending:
                await asyncio.wait(sending, timeout=ANSWER_S)
        finally:
            await cancel_and_wait(sending)
        for each in failed:
            if isinstance(each.error, CommandsUnavailable):
                raise each.error
        first = min(failed, key=_position, default=None)
        unanswered = (each for of_session in by_session.values() for each in of_session)
        kept = (each for each in unanswered if first is None or _position(each) < _position(first))
        return SentPage(failed=first, unanswered=tuple(sorted(kept, key=_position)))

    async def deliver(self, process_manager: str, sent: CommandToSession) -> None:
        """Send one command, and record a refusal. Raises SessionBusy, CommandsUnavailable, or what is unexpected."""
        context = _context(sent.event, sent.command)
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                try:
                    await self.send(sent.command, context, after=sent.event.position)
                except DomainError as error:
                    if _is_too_busy(error):
                        raise
                    await self._record(process_manager, sent, context, error)
        except Conflict as error:
            if _is_too_busy(error):
                raise SessionBusy(str(error)) from error
            raise
        except TimeoutError as error:
            raise SessionBusy(f"{session_stream(sent.session_id)} has not answered in time") from error
        except self._unavailable as error:
            raise CommandsUnavailable(f"{type(error).__name__}: {error}") from error

    async def _by_session(
        self, turns: asyncio.Semaphore, commands: Sequence[CausedCommand]
    ) -> tuple[dict[str, deque[CommandToSession]], list[FailedCommand]]:
        """The commands to each session, in order; and a failure for each command to a run whose session can't be
        found."""
        run_ids = list(dict.fromkeys(command.run_id for _, command in commands))
        found = await asyncio.gather(*(self._tried(turns, partial(self._session_of, run_id)) for run_id in run_ids))
        sessions = dict(zip(run_ids, found, strict=True))
        by_session: dict[str, deque[CommandToSession]] = defaultdict(deque)
        failed: list[FailedCommand] = []
        for event, command in commands:
            session_id = sessions[command.run_id]
            if isinstance(session_id, Exception):
                failed.append(FailedCommand(event=event, error=session_id))
            else:
                by_session[session_id].append(CommandToSession(event=event, command=command, session_id=session_id))
        return by_session, failed

    async def send(self, wanted: SendToSession, context: CommandContext, *, after: int | None = None) -> None:
        """Send one command. `after`: the position of the event that led to it. Raises what the session's `decide`
        raises, and what its store raises."""
        session_id = await self._session_of(wanted.run_id)
        if isinstance(wanted.command, DetachRun) and not await self._is_to_detach(session_id, wanted.run_id, after):
            return
        if isinstance(wanted.command, AttachRun) and not await self._is_to_attach(session_id, wanted.run_id):
            return
        await self._sessions.handle(session_id, wanted.command, context)

    async def _is_to_attach(self, session_id: str, run_id: str) -> bool:
        """Whether there is a session that the run could hold, and the run has not ended yet."""
        run = (await self._runs.load(run_id)).state
        going_on = run is not None and isinstance(run.stage, Active | Finishing)
        return going_on and (await self._sessions.recent(session_id)).state is not None

    async def _is_to_detach(self, session_id: str, run_id: str, after: int | None) -> bool:
        """Whether the run is still attached, and not for a later attempt than the one that has ended. The session is
        not read if the cached state, at or after `after`, shows the run detached."""
        session = await self._sessions.recent(session_id)
        if session.state is None:
            return False
        if run_id not in session.state.attached_runs and (after is None or session.position < after):
            session = await self._sessions.load(session_id)
        if session.state is None or run_id not in session.state.attached_runs:
            return False
        run = (await self._runs.load(run_id)).state
        return run is None or not isinstance(run.stage, Active | Finishing)

    async def _session_of(self, run_id: str) -> str:
        run = (await self._runs.recent(run_id)).state
        if run is None:
            raise NotFound(f"no run {run_id!r} is known")
        return run.session_id

    async def _tried(self, turns: asyncio.Semaphore, work: Callable[[], Awaitable[Result]]) -> Result | Exception:
        try:
            async with turns, asyncio.timeout(COMMAND_TIMEOUT_S):
                return await work()
        except self._unavailable as error:
            return CommandsUnavailable(f"{type(error).__name__}: {error}")
        except Exception as error:  # noqa: BLE001  # whatever it is, it stops this process manager alone
            return error

    async def _record(
        self, process_manager: str, sent: CommandToSession, context: CommandContext, error: DomainError
    ) -> None:
        log.warning("%s was refused by session %s: %s", context.command_id, sent.session_id, error)
        command = RecordRefusal(
            at_position=sent.event.position,
            command_id=context.command_id,
            refused_by=session_stream(sent.session_id),
            error=str(error),
        )
        record = replace(context, actor="process-managers", command_id=f"{context.command_id}/refused")
        async with self._recording:
            await self._refused.handle(process_manager, command, record)


def _is_too_busy(error: DomainError) -> bool:
    return isinstance(error, Conflict) and error.reason == "too_busy"


def _position(each: FailedCommand | CommandToSession) -> int:
    return each.event.position


def to_send(
    outcomes: Sequence[tuple[RecordedEvent, Outcome]], page: Sequence[tuple[RecordedEvent, Outcome]]
) -> list[CausedCommand]:
    """The commands among a process manager's outcomes, without a DetachRun that a later event of the page shows as
    done. `page`: the outcomes of all process managers for the page."""
    detached: dict[str, int] = {}
    for event, outcome in page:
        if isinstance(outcome, RunDetached):
            detached[outcome.run_id] = max(detached.get(outcome.run_id, 0), event.position)
    return [
        (event, outcome)
        for event, outcome in outcomes
        if isinstance(outcome, SendToSession)
        and not (isinstance(outcome.command, DetachRun) and detached.get(outcome.run_id, 0) > event.position)
    ]


def _context(event: RecordedEvent, command: SendToSession) -> CommandContext:
    return CommandContext(
        actor=event.metadata.actor,
        command_id=command.command_id,
        correlation_id=event.metadata.correlation_id,
        # Not the event id: that is unique only within its stream (callbacks to two runs may share one).
        causation_id=f"{event.stream}/{event.seq}",
        trace_id=event.metadata.trace_id,
    )

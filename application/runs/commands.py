"""The commands that callers send to runs: queue, cancel, bind, and answers to questions."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from application.aggregates.aggregates import Aggregates, CommandResult, Loaded
from application.aggregates.waiting import wait_for_state
from application.command_context import CommandContext
from application.ports.log_tail import LogTail
from application.ports.providers import Providers
from application.runs.limits import RunLimits, milliseconds
from application.sessions.commands import Sessions
from domain.errors import InvalidInput, NotFound
from domain.identifiers import check_id, run_stream
from domain.run.commands import (
    BindRun,
    CancelRun,
    EndOverdueRun,
    ExpireQuestion,
    QueueRun,
    ReplyToQuestion,
    RunCommand,
)
from domain.run.questions import not_answered
from domain.run.state import Blocked, Finished, Queued, Run
from domain.run.values import RunSpec

Runs = Aggregates[Run, RunCommand]
MAX_ATTEMPTS_LIMIT = 100


class ReplyOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """`status`: answering (on its way into the agent), resolved. `answer`: the one that counts. `duplicate`: that is
    the answer of a reply that came first."""

    status: str
    answer: Any
    duplicate: bool
    position: int


class RunCommands:
    """Ids and specs are checked here; InvalidInput names the field."""

    def __init__(
        self, *, runs: Runs, sessions: Sessions, tail: LogTail, providers: Providers, new_id: Callable[[], str]
    ) -> None:
        self._runs, self._sessions = runs, sessions
        self._tail, self._providers, self._new_id = tail, providers, new_id

    async def get(self, run_id: str) -> Loaded[Run]:
        """The state according to the log. Raises NotFound."""
        loaded = await self._runs.load(run_id)
        if loaded.state is None:
            raise NotFound(f"no run {run_id!r} is known")
        return loaded

    async def is_not_executing(self, run_id: str) -> bool:
        """True unless a worker executes the run or is about to: finished, blocked, queued or unknown."""
        state = (await self._runs.load(run_id)).state
        return state is None or isinstance(state.stage, Finished | Blocked | Queued)

    async def queue(self, run_id: str, spec: RunSpec, context: CommandContext) -> CommandResult[Run]:
        """Queue a run; a known one with the same spec is left as it is. `state.stage` may be Blocked. Raises
        InvalidInput, IdentityConflict."""
        check_id("runId", run_id)
        for field, value in (
            ("sessionId", spec.session_id),
            ("appId", spec.app_id),
            ("projectName", spec.project_name),
            ("userLoginName", spec.user_login_name),
        ):
            check_id(field, value)
        if not 1 <= spec.max_attempts <= MAX_ATTEMPTS_LIMIT:
            raise InvalidInput("maxAttempts", f"{spec.max_attempts} is not between 1 and {MAX_ATTEMPTS_LIMIT}")
        capabilities = await self._providers.capabilities_of(spec)
        command = QueueRun(spec=spec, capabilities=capabilities)
        return await self._runs.handle(run_id, command, context, likely_new=True)

    async def wait_for_end(self, run_id: str, timeout_s: float) -> Loaded[Run] | None:
        """The run once it has finished or is blocked; None after `timeout_s`."""
        return await wait_for_state(
            self._runs,
            self._tail,
            key=run_id,
            stream=run_stream(run_id),
            reached=lambda run: run is not None and isinstance(run.stage, Finished | Blocked),
            timeout_s=timeout_s,
        )

    async def cancel(self, run_id: str, context: CommandContext, reason: str = "") -> CommandResult[Run]:
        return await self._runs.handle(run_id, CancelRun(reason=reason), context)

    async def bind(self, run_id: str, session_id: str, context: CommandContext) -> CommandResult[Run]:
        check_id("runId", run_id)
        check_id("sessionId", session_id)
        session = (await self._sessions.recent(session_id)).state
        command = BindRun(
            session_id=session_id,
            app_id=session.app_id if session else "",
            project_name=session.project_name if session else "",
            user_login_name=session.user_login_name if session else "",
        )
        return await self._runs.handle(run_id, command, context)

    async def end_overdue(
        self, run_id: str, now: datetime, limits: RunLimits, context: CommandContext
    ) -> CommandResult[Run]:
        """End an external run that is over a limit; the run decides whether it is at `now`."""
        command = EndOverdueRun(now=now, run_ms=milliseconds(limits.run), silence_ms=milliseconds(limits.silence))
        return await self._runs.handle(run_id, command, context)

    async def reply(
        self, run_id: str, question_id: str, answer: Any, context: CommandContext, *, wait_s: float
    ) -> ReplyOutcome:
        """Accept the first reply and wait until it has reached the agent. Raises NotFound; Conflict when the question
        is closed without an answer, or was before this one reached the agent."""
        handled = await self._runs.handle(run_id, ReplyToQuestion(question_id=question_id, answer=answer), context)
        loaded = await wait_for_state(
            self._runs,
            self._tail,
            key=run_id,
            stream=run_stream(run_id),
            reached=lambda run: run is not None and run.questions[question_id].status != "answering",
            timeout_s=wait_s,
        )
        state = loaded.state if loaded and loaded.state else handled.state
        question = state.questions[question_id]
        if question.status not in {"answering", "resolved"}:
            raise not_answered(question_id, question)
        return ReplyOutcome(
            status=question.status,
            answer=question.answer,
            duplicate=not handled.events,
            position=loaded.position if loaded else handled.position,
        )

    async def expire_question(
        self, run_id: str, question_id: str, now: datetime, context: CommandContext
    ) -> CommandResult[Run]:
        """Expire a question; the run decides whether its time is over at `now`."""
        return await self._runs.handle(run_id, ExpireQuestion(question_id=question_id, now=now), context)

"""The commands that callers send to runs: queue, cancel, bind, and answers to questions."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from application.aggregates.aggregates import Aggregates, CommandResult, Loaded
from application.aggregates.waiting import wait_for_state
from application.command_context import CommandContext
from application.ports.log_tail import LogTail
from application.ports.providers import Providers
from application.ports.redaction import Redact
from application.ports.run_secrets import RunSecrets
from application.runs.limits import RunLimits, milliseconds
from application.runs.withheld import withheld
from application.sessions.commands import Sessions
from domain.errors import InvalidInput, NotAllowed, NotFound
from domain.identifiers import check_id, check_new_id, is_reserved, run_stream
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
from domain.run.state import Blocked, Finished, Question, Queued, Run
from domain.run.values import RunSpec

Runs = Aggregates[Run, RunCommand]
MAX_ATTEMPTS_LIMIT = 100


class ReplyOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """`status`: answering (on its way into the agent), resolved. `answer`: the one that counts. `duplicate`: that is
    the answer of a reply that came first; None if it has more than 16 KiB."""

    status: str
    answer: Any
    duplicate: bool
    position: int


class RunCommands:
    """Ids and specs are checked here; InvalidInput names the field."""

    def __init__(
        self,
        *,
        runs: Runs,
        sessions: Sessions,
        tail: LogTail,
        providers: Providers,
        new_id: Callable[[], str],
        redact: Redact,
        secrets: RunSecrets,
        allow_high_priority: bool = False,
    ) -> None:
        self._runs, self._sessions = runs, sessions
        self._tail, self._providers, self._new_id = tail, providers, new_id
        self._redact, self._secrets = redact, secrets
        self._allow_high_priority = allow_high_priority

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
        InvalidInput, IdentityConflict, NotAllowed."""
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
        if spec.priority == "high" and not self._allow_high_priority:
            raise NotAllowed(
                "priority: high is not allowed here; use normal or low, or let an operator set ALLOW_HIGH_PRIORITY",
                "high_priority_not_allowed",
            )
        await self._check_reserved(
            run_id, spec.session_id, {"sessionId": spec.session_id, "userLoginName": spec.user_login_name}
        )
        capabilities = await self._providers.capabilities_of(spec)
        options = self._providers.secret_options(spec.provider)
        logged, secrets = withheld(self._redact(spec), options, self._secrets.placeholder)
        if secrets:
            await self._secrets.keep(run_id, secrets)
        command = QueueRun(spec=logged, capabilities=capabilities)
        handled = await self._runs.handle(run_id, command, context, likely_new=True)
        if secrets and isinstance(handled.state.stage, Blocked | Finished):
            await self._secrets.forget(run_id)
        return handled

    async def _check_reserved(self, run_id: str, session_id: str, of_session: Mapping[str, str]) -> None:
        """Raises InvalidInput for a reserved name of a new run, or one of a new session."""
        reserved = any(is_reserved(field, value) for field, value in {"runId": run_id, **of_session}.items())
        if not reserved or (await self._runs.load(run_id)).state is not None:
            return
        check_new_id("runId", run_id)
        if (await self._sessions.load(session_id)).state is None:
            for field, value in of_session.items():
                check_new_id(field, value)

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
        await self._check_reserved(run_id, session_id, {"sessionId": session_id})
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
        command = self._redact(ReplyToQuestion(question_id=question_id, answer=answer))
        handled = await self._runs.handle(run_id, command, context)
        loaded = await wait_for_state(
            self._runs,
            self._tail,
            key=run_id,
            stream=run_stream(run_id),
            reached=lambda run: run is not None and _asked(run, question_id).status != "answering",
            timeout_s=wait_s,
        )
        state = loaded.state if loaded and loaded.state else handled.state
        question = _asked(state, question_id)
        if question.status not in {"answering", "resolved"}:
            raise not_answered(question_id, question)
        return ReplyOutcome(
            status=question.status,
            answer=command.answer if handled.events else question.answer,
            duplicate=not handled.events,
            position=loaded.position if loaded else handled.position,
        )

    async def expire_question(
        self, run_id: str, question_id: str, now: datetime, context: CommandContext
    ) -> CommandResult[Run]:
        """Expire a question; the run decides whether its time is over at `now`."""
        return await self._runs.handle(run_id, ExpireQuestion(question_id=question_id, now=now), context)


def _asked(run: Run, question_id: str) -> Question:
    question = run.question(question_id)
    assert question is not None, f"a reply to {question_id!r} was accepted"
    return question

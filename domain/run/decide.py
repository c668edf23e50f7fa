"""The decisions of a run: from state and command to events."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from domain.errors import Conflict, Fenced, IdentityConflict, InvalidInput, NotFound
from domain.event import Event
from domain.run import commands as c
from domain.run import events as e
from domain.run.capabilities import blocked_reason, degradations
from domain.run.questions import (
    answered,
    changes_nothing,
    close_questions,
    end_after_request,
    ended_before_request,
    not_answered,
)
from domain.run.state import Active, Blocked, Finished, Finishing, Queued, Run
from domain.run.values import (
    FINAL_ERRORS,
    TRANSIENT_ERRORS,
    RunError,
    RunOutcome,
    Warn,
    silent_outside_error,
    timeout_error,
    unanswered_error,
)

LONGEST_WAIT_MS = 366 * 24 * 60 * 60 * 1000
PHASES = ("claimed", "restoring", "linking", "preparing", "running")


def decide(state: Run | None, command: c.RunCommand) -> Sequence[Event]:
    """The events that `command` leads to in `state`; none when it changes nothing.

    Raises InvalidInput, NotFound, Conflict or Fenced (domain/errors.py).
    """
    if isinstance(command, c.QueueRun):
        return _queue(state, command)
    if isinstance(command, c.BindRun):
        return _bind(state, command)
    if state is None:
        raise NotFound("no run is known under this id")
    lease = getattr(command, "lease_generation", None)
    if lease is not None:
        _check_lease(state, command, lease)
    return _HANDLERS[type(command)](state, command)


def _check_lease(state: Run, command: c.RunCommand, lease: int) -> None:
    stale = lease <= state.lease_generation if isinstance(command, c.ClaimRun) else lease != state.lease_generation
    if stale or lease < 1:
        raise Fenced(f"lease {lease} is not the run's current one, {state.lease_generation}")


def _queue(state: Run | None, command: c.QueueRun) -> Sequence[Event]:
    spec = command.spec
    if state is not None:
        if state.spec != spec:
            raise IdentityConflict("this runId is known with another body; choose a new runId or send the same body")
        return ()
    warnings = tuple(e.RunWarning(warning=warning) for warning in degradations(spec, command.capabilities))
    reason = blocked_reason(spec, command.capabilities)
    if reason:
        return (e.RunBlocked(spec=spec, capability="humanLoop", reason=reason), *warnings)
    return (e.RunQueued(spec=spec), *warnings)


def _bind(state: Run | None, command: c.BindRun) -> Sequence[Event]:
    if state is None:
        bound = e.RunBound(
            bound_session_id=command.session_id,
            app_id=command.app_id,
            project_name=command.project_name,
            user_login_name=command.user_login_name,
        )
        return (bound,)
    if state.session_id != command.session_id:
        raise IdentityConflict(f"this run is tied to session {state.session_id!r}, not to {command.session_id!r}")
    return ()


def _claim(state: Run, command: c.ClaimRun) -> Sequence[Event]:
    match state.stage:
        case Queued():
            attempt, resumed = state.attempt + 1, False
        case Active(phase="running") | Finishing():
            attempt, resumed = max(state.attempt, 1), True
        case Active() if state.spec is not None and state.attempt >= state.spec.max_attempts:
            claimed = e.RunClaimed(
                lease_generation=command.lease_generation, owner=command.owner, attempt=state.attempt, resumed=True
            )
            died = RunError(error_class="executor_lost", message="its worker died before the agent started")
            return (claimed, *_end(state, command.lease_generation, "failed", _exhausted(state, died)))
        case Active():
            # The lease's holder died before the agent started: nothing was done, but it counts as an attempt.
            attempt, resumed = state.attempt + 1, False
        case _:
            return ()
    return (
        e.RunClaimed(lease_generation=command.lease_generation, owner=command.owner, attempt=attempt, resumed=resumed),
    )


def _enter_phase(state: Run, command: c.EnterPhase) -> Sequence[Event]:
    if not isinstance(state.stage, Active) or PHASES.index(command.phase) <= PHASES.index(state.stage.phase):
        return ()
    return (e.RunPhaseEntered(lease_generation=command.lease_generation, phase=command.phase),)


def _carry(state: Run, command: c.InheritConversation) -> Sequence[Event]:
    """Once: a later attempt begins with the very same."""
    if state.carried is not None or not isinstance(state.stage, Active) or state.stage.phase == "running":
        return ()
    lease = command.lease_generation
    warnings = (e.RunWarning(lease_generation=lease, warning=warning) for warning in command.warnings)
    return (*warnings, replace(command.carried, lease_generation=lease))


def _start_agent(state: Run, command: c.StartAgent) -> Sequence[Event]:
    if not isinstance(state.stage, Active) or state.stage.phase == "running" or state.cancel_requested:
        return ()
    return (
        e.RunStarted(
            lease_generation=command.lease_generation,
            attempt=state.attempt,
            generation=command.generation,
            boot_id=command.boot_id,
        ),
    )


def _record_entry(state: Run, command: c.RecordJournalEntry) -> Sequence[Event]:
    event = _reported(command.event, "journal")
    if command.attempt != state.attempt or command.n <= state.entries or not _followed(state):
        return ()
    if command.n > state.entries + 1:
        raise Conflict(f"journal entry {command.n} came right after entry {state.entries}", "journal_gap")
    if isinstance(event, e.RunAgentFinished) and isinstance(state.stage, Finishing):
        return ()
    if changes_nothing(state, event):
        # Recorded as a warning: each entry becomes one event, so that the count of entries stays right.
        message = f"{event.wire_name} of a question that is closed or was asked before"
        event = e.RunWarning(warning=Warn(code="entry_ignored", message=message))
    return _agent_event(state, replace(event, lease_generation=command.lease_generation))


def _followed(state: Run) -> bool:
    """Whether journal entries are still recorded: up to the journal's end, even if a callback reported it earlier."""
    return isinstance(state.stage, Finishing) or (isinstance(state.stage, Active) and state.stage.phase == "running")


def _record_callback(state: Run, command: c.RecordCallback) -> Sequence[Event]:
    event = _reported(command.event, "type")
    if isinstance(state.stage, Finished | Finishing | Blocked):
        return ()
    if changes_nothing(state, event) and not ended_before_request(state, event):
        return ()
    event = replace(event, lease_generation=0)
    if isinstance(event, e.HumanLoopRequested) and event.question_id in state.questions:
        return (event, *end_after_request(event.question_id, state.questions[event.question_id]))
    return _agent_event(state, event)


def _reported(event: Event, field: str) -> e.LeasedEvent:
    if type(event) not in e.AGENT_EVENTS or not isinstance(event, e.LeasedEvent):
        raise InvalidInput(field, f"{event.wire_name!r} is not an agent's to report")
    return event


def _agent_event(state: Run, event: Event) -> Sequence[Event]:
    if isinstance(event, e.RunAgentFinished):
        return (*close_questions(state, event.lease_generation, "the agent ended"), _settled(state, event))
    return (event,)


def _settled(state: Run, event: e.RunAgentFinished) -> e.RunAgentFinished:
    if state.abort is not None and event.outcome != "succeeded":
        return replace(event, outcome="failed", error=state.abort)
    return event


def _fail_attempt(state: Run, command: c.FailAttempt) -> Sequence[Event]:
    lease = command.lease_generation
    match state.stage:
        case Active(phase="running") if not command.never_started:
            lost: tuple[Event, ...] = ()
            if command.tail_lost:
                lost = (
                    e.RunTailLost(
                        lease_generation=lease,
                        attempt=state.attempt,
                        recorded_entries=state.entries,
                        reason=command.error.message,
                    ),
                )
            finished = e.RunAgentFinished(lease_generation=lease, outcome="failed", error=command.error)
            return (*close_questions(state, lease, command.error.message), *lost, _settled(state, finished))
        case Active():
            return _retry_or_finish(state, lease, "failed", command.error, exported=False, retry_at=command.retry_at)
        case _:
            return ()


def _time_out(state: Run, command: c.TimeOutRun) -> Sequence[Event]:
    match state.stage:
        case Active(phase="running") if state.abort is None and not state.cancel_requested:
            return (
                e.RunTimedOut(lease_generation=command.lease_generation, what=command.what, limit_ms=command.limit_ms),
            )
        case _:
            return ()


def _retry_or_finish(
    state: Run, lease: int, outcome: RunOutcome, error: RunError | None, *, exported: bool, retry_at: datetime
) -> Sequence[Event]:
    if outcome == "failed" and error is not None and state.spec is not None and _may_retry(state, error):
        if state.attempt < state.spec.max_attempts:
            retry = e.RunRetryScheduled(
                lease_generation=lease, attempt=state.attempt, error=error, available_at=retry_at
            )
            return (*close_questions(state, lease, error.message), retry)
        error = _exhausted(state, error)
    return _end(state, lease, outcome, error, exported=exported)


def _may_retry(state: Run, error: RunError) -> bool:
    if state.spec is None or state.spec.retry_policy == "never" or state.abort is not None or state.cancel_requested:
        return False
    if state.spec.retry_policy == "always":
        return True
    started = isinstance(state.stage, Finishing)
    return error.error_class in TRANSIENT_ERRORS if started else error.error_class not in FINAL_ERRORS


def _exhausted(state: Run, error: RunError) -> RunError:
    limit = state.spec.max_attempts if state.spec else state.attempt
    return RunError(
        error_class="attempts_exhausted", message=f"attempt {state.attempt} of {limit} failed: {error.message}"
    )


def _end(
    state: Run, lease: int, outcome: RunOutcome, error: RunError | None = None, *, exported: bool = False
) -> tuple[Event, ...]:
    finished = e.RunFinished(
        lease_generation=lease,
        outcome="canceled" if state.cancel_requested else outcome,
        exported=exported,
        error=error,
        usage=state.usage,
        provider_session_id=state.provider_session_id,
    )
    return (*close_questions(state, lease, "the run ended"), finished)


def _begin_final_sync(state: Run, command: c.BeginFinalSync) -> Sequence[Event]:
    if not isinstance(state.stage, Finishing) or state.stage.sync_id:
        return ()
    return (e.RunSyncing(lease_generation=command.lease_generation, sync_id=command.sync_id),)


def _record_exported(state: Run, command: c.RecordExported) -> Sequence[Event]:
    if not isinstance(state.stage, Finishing) or state.stage.exported:
        return ()
    if not state.stage.sync_id:
        raise Conflict("the final sync has not begun", "not_syncing")
    return (e.RunExported(lease_generation=command.lease_generation, sync=command.sync),)


def _finish(state: Run, command: c.FinishRun) -> Sequence[Event]:
    if not isinstance(state.stage, Finishing):
        return ()
    stage, lease = state.stage, command.lease_generation
    if not stage.exported and command.warning is None:
        raise Conflict("the workspace is not exported; a run ends without that only with a warning", "not_exported")
    warning: tuple[Event, ...] = ()
    if command.warning is not None:
        warning = (e.RunWarning(lease_generation=lease, warning=command.warning),)
    return (
        *warning,
        *_retry_or_finish(state, lease, stage.outcome, stage.error, exported=stage.exported, retry_at=command.retry_at),
    )


def _lease_lost(state: Run, command: c.RecordLeaseLost) -> Sequence[Event]:
    if not isinstance(state.stage, Active | Finishing) or command.lost_lease_generation > state.lease_generation:
        return ()
    return (e.RunLeaseLost(lost_lease_generation=command.lost_lease_generation, owner=command.owner),)


def _cancel(state: Run, command: c.CancelRun) -> Sequence[Event]:
    requested = e.RunCancelRequested(reason=command.reason)
    canceled = replace(state, cancel_requested=True)
    match state.stage:
        case Finished():
            return ()
        case Queued() | Blocked():
            return (requested, *_end(canceled, 0, "canceled"))
        case _ if state.cancel_requested:
            return ()
        case Active() if state.is_external:
            return (requested, *_end_external(canceled, e.RunAgentFinished(outcome="canceled"), "run canceled"))
        case _:
            return (requested, *close_questions(canceled, 0, "run canceled"))


def _end_external(state: Run, finished: e.RunAgentFinished, reason: str) -> tuple[Event, ...]:
    """Nobody here drives the agent of an external run: it has ended as far as the log is concerned."""
    return (*close_questions(state, 0, reason), finished)


def _end_overdue(state: Run, command: c.EndOverdueRun) -> Sequence[Event]:
    stage, outside = state.stage, state.outside
    if outside is None or not isinstance(stage, Active) or stage.started_at is None:
        return ()
    silent = not state.open_questions and _is_over(command.now, outside.reported_at, command.silence_ms)
    if silent:
        timed_out = e.RunTimedOut(what="silence", limit_ms=command.silence_ms)
        error = silent_outside_error(command.silence_ms)
    elif _is_over(command.now, stage.started_at, command.run_ms):
        timed_out = e.RunTimedOut(what="run", limit_ms=command.run_ms)
        error = timeout_error("run", command.run_ms)
    else:
        return ()
    return (timed_out, *_end_external(state, e.RunAgentFinished(outcome="failed", error=error), error.message))


def _is_over(now: datetime, since: datetime, limit_ms: int) -> bool:
    return limit_ms > 0 and now >= since + timedelta(milliseconds=limit_ms)


def _reply(state: Run, command: c.ReplyToQuestion) -> Sequence[Event]:
    question = state.questions.get(command.question_id)
    if question is None:
        raise NotFound(f"this run has asked no question {command.question_id!r}")
    if question.status in {"answering", "resolved"}:
        return ()
    if question.status != "open":
        raise not_answered(command.question_id, question)
    return answered(state, command.question_id, command.answer)


def _reply_undeliverable(state: Run, command: c.RecordReplyUndeliverable) -> Sequence[Event]:
    if command.question_id not in state.open_questions:
        return ()
    return (e.HumanLoopExpired(question_id=command.question_id, reason=command.reason),)


def _expire(state: Run, command: c.ExpireQuestion) -> Sequence[Event]:
    question = state.questions.get(command.question_id)
    if question is None or question.status != "open" or question.timeout_ms is None:
        return ()
    if command.now < question.requested_at + timedelta(milliseconds=min(question.timeout_ms, LONGEST_WAIT_MS)):
        return ()
    if question.default_answer is not None:
        return answered(state, command.question_id, question.default_answer)
    expired = e.HumanLoopExpired(question_id=command.question_id, reason="timeout")
    if state.is_external and isinstance(state.stage, Active):
        error = unanswered_error(command.question_id)
        rest = replace(state, questions={k: q for k, q in state.questions.items() if k != command.question_id})
        return (expired, *_end_external(rest, e.RunAgentFinished(outcome="failed", error=error), error.message))
    return (expired,)


_HANDLERS: dict[type, Callable[[Run, Any], Sequence[Event]]] = {
    c.ClaimRun: _claim,
    c.EnterPhase: _enter_phase,
    c.InheritConversation: _carry,
    c.StartAgent: _start_agent,
    c.RecordJournalEntry: _record_entry,
    c.RecordCallback: _record_callback,
    c.FailAttempt: _fail_attempt,
    c.TimeOutRun: _time_out,
    c.BeginFinalSync: _begin_final_sync,
    c.RecordExported: _record_exported,
    c.FinishRun: _finish,
    c.RecordLeaseLost: _lease_lost,
    c.CancelRun: _cancel,
    c.EndOverdueRun: _end_overdue,
    c.ReplyToQuestion: _reply,
    c.RecordReplyUndeliverable: _reply_undeliverable,
    c.ExpireQuestion: _expire,
}

"""The decisions of a run: from state and command to events."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from domain.errors import Conflict, Fenced, IdentityConflict, NotFound
from domain.event import Event
from domain.run import commands as c
from domain.run import events as e
from domain.run.capabilities import blocked_reason, degradations
from domain.run.questions import (
    answered,
    close_questions,
    not_answered,
)
from domain.run.quotas import RunQuotas
from domain.run.reports import end_external, exceed_quota, record_callback, record_entry, settled
from domain.run.retries import exhausted, may_retry
from domain.run.state import Active, Blocked, Finished, Finishing, Queued, Run
from domain.run.values import RunError, RunOutcome, silent_outside_error, timeout_error, unanswered_error

DEFAULT_QUOTAS = RunQuotas()
LONGEST_WAIT_MS = 366 * 24 * 60 * 60 * 1000
PHASES = ("claimed", "restoring", "linking", "preparing", "running")
MAX_EXCUSED = 1000
"""Attempts of a run that an outage excuses at most."""


def decide(state: Run | None, command: c.RunCommand, quotas: RunQuotas = DEFAULT_QUOTAS) -> Sequence[Event]:
    """The events that `command` leads to in `state`; none when it changes nothing. At most a few more than there are
    open questions, MAX_CLOSED_AT_ONCE of which are closed at once.

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
    if isinstance(command, c.RecordJournalEntry):
        return record_entry(state, command, quotas)
    if isinstance(command, c.RecordCallback):
        return record_callback(state, command, quotas)
    return _HANDLERS[type(command)](state, command)


def _check_lease(state: Run, command: c.RunCommand, lease: int) -> None:
    stale = lease <= state.lease_generation if isinstance(command, c.ClaimRun) else lease != state.lease_generation
    if stale or lease < 1:
        raise Fenced(f"lease {lease} is not the run's current one, {state.lease_generation}")
    if state.is_parked and not isinstance(command, c.ClaimRun):
        raise Fenced("the run is parked: its lease was let go of, and nobody holds it until it is claimed again")


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
        case Active(phase="running") | Active(parked=str()) | Finishing():
            attempt, resumed = max(state.attempt, 1), True
        case Active() if state.spec is not None and state.counted_attempts >= state.spec.max_attempts:
            claimed = e.RunClaimed(
                lease_generation=command.lease_generation, owner=command.owner, attempt=state.attempt, resumed=True
            )
            died = RunError(error_class="executor_lost", message="its worker died before the agent started")
            return (claimed, *_end(state, command.lease_generation, "failed", exhausted(state, died)))
        case Active():
            # The lease's holder died before the agent started: nothing was done, but it counts as an attempt.
            attempt, resumed = state.attempt + 1, False
        case _:
            return ()
    return (
        e.RunClaimed(
            lease_generation=command.lease_generation,
            owner=command.owner,
            attempt=attempt,
            resumed=resumed,
            was_parked=state.stage.parked if isinstance(state.stage, Active) else None,
        ),
    )


def _enter_phase(state: Run, command: c.EnterPhase) -> Sequence[Event]:
    if not isinstance(state.stage, Active) or PHASES.index(command.phase) <= PHASES.index(state.stage.phase):
        return ()
    return (e.RunPhaseEntered(lease_generation=command.lease_generation, phase=command.phase),)


def _park(state: Run, command: c.ParkRun) -> Sequence[Event]:
    if not state.may_park(command.waits_for):
        return ()
    lease, until = command.lease_generation, command.until
    return (e.RunParked(lease_generation=lease, waits_for=command.waits_for, until=until),)


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
            return (*close_questions(state, lease, command.error.message), *lost, settled(state, finished))
        case Active():
            return _retry_or_finish(
                state,
                lease,
                "failed",
                command.error,
                exported=False,
                retry_at=command.retry_at,
                excused=command.excused,
            )
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


def _abort(state: Run, command: c.AbortRun) -> Sequence[Event]:
    if not isinstance(state.stage, Active) or state.abort is not None or state.cancel_requested:
        return ()
    aborted = e.RunAborted(error=command.error)
    if not state.is_external:
        return (aborted,)
    finished = e.RunAgentFinished(outcome="failed", error=command.error)
    return (aborted, *end_external(state, finished, command.error.message))


def _retry_or_finish(
    state: Run,
    lease: int,
    outcome: RunOutcome,
    error: RunError | None,
    *,
    exported: bool,
    retry_at: datetime,
    excused: bool,
) -> Sequence[Event]:
    if outcome == "failed" and error is not None and state.spec is not None and may_retry(state, error):
        excused = excused and state.excused < MAX_EXCUSED
        if excused or state.counted_attempts < state.spec.max_attempts:
            retry = e.RunRetryScheduled(
                lease_generation=lease, attempt=state.attempt, error=error, available_at=retry_at, excused=excused
            )
            return (*close_questions(state, lease, error.message), retry)
        error = exhausted(state, error)
    return _end(state, lease, outcome, error, exported=exported)


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
        *_retry_or_finish(
            state,
            lease,
            stage.outcome,
            stage.error,
            exported=stage.exported,
            retry_at=command.retry_at,
            excused=command.excused,
        ),
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
            return (requested, *end_external(canceled, e.RunAgentFinished(outcome="canceled"), "run canceled"))
        case _:
            return (requested, *close_questions(canceled, 0, "run canceled"))


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
    return (timed_out, *end_external(state, e.RunAgentFinished(outcome="failed", error=error), error.message))


def _is_over(now: datetime, since: datetime, limit_ms: int) -> bool:
    return limit_ms > 0 and now >= since + timedelta(milliseconds=limit_ms)


def _reply(state: Run, command: c.ReplyToQuestion) -> Sequence[Event]:
    question = state.question(command.question_id)
    if question is None:
        raise NotFound(f"this run has asked no question {command.question_id!r}")
    if question.status in {"answering", "resolved"}:
        return ()
    if question.status != "open":
        raise not_answered(command.question_id, question)
    return answered(state, command.question_id, command.answer)


def _reply_undeliverable(state: Run, command: c.RecordReplyUndeliverable) -> Sequence[Event]:
    if command.question_id not in state.questions:
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
        return (expired, *end_external(rest, e.RunAgentFinished(outcome="failed", error=error), error.message))
    return (expired,)


_HANDLERS: dict[type, Callable[[Run, Any], Sequence[Event]]] = {
    c.ClaimRun: _claim,
    c.EnterPhase: _enter_phase,
    c.ParkRun: _park,
    c.InheritConversation: _carry,
    c.StartAgent: _start_agent,
    c.FailAttempt: _fail_attempt,
    c.TimeOutRun: _time_out,
    c.AbortRun: _abort,
    c.ExceedQuota: exceed_quota,
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

"""The fold of a run's events to its state. It accepts every event in every state: events are facts."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from domain.event import Event
from domain.leveled import with_entry
from domain.record import Occurrence
from domain.run import events as e
from domain.run.state import (
    MAX_REMEMBERED_BYTES,
    Active,
    Blocked,
    Finished,
    Finishing,
    InheritedConversation,
    OutsideRun,
    Question,
    Queued,
    Run,
)
from domain.run.values import quota_error, timeout_error, unanswered_error


def evolve(state: Run | None, occurrence: Occurrence) -> Run | None:
    """The state after one more event. `entries`, the journal's cursor, is taken from the event ids of its entries."""
    event = occurrence.event
    if state is None:
        return _created(event, occurrence.occurred_at)
    handler = _HANDLERS.get(type(event))
    if handler is not None:
        state = handler(state, event, occurrence.occurred_at)
    if state.outside is not None and (type(event) in e.AGENT_EVENTS or isinstance(event, e.HumanLoopReplyAccepted)):
        state = replace(state, outside=replace(state.outside, reported_at=occurrence.occurred_at))
    if type(event) in e.AGENT_EVENTS and isinstance(event, e.LeasedEvent) and event.lease_generation > 0:
        # A callback has lease 0; its event id may look like that of a journal entry, so it must not be read.
        entry = journal_entry_number(occurrence.event_id, state.attempt)
        if entry > state.entries:
            state = replace(state, entries=entry)
    return state


def journal_event_id(run_id: str, attempt: int, boot_id: str, n: int) -> str:
    """The event id of a journal entry: `{runId}/{attempt}/{bootId}/{n}`."""
    return f"{run_id}/{attempt}/{boot_id}/{n}"


def journal_entry_number(event_id: str, attempt: int) -> int:
    """The `n` in the event id of a journal entry of this attempt; 0 for any other event id."""
    parts = event_id.split("/")
    if len(parts) == 4 and parts[1] == str(attempt) and parts[3].isdigit():
        return int(parts[3])
    return 0


def _created(event: Event, at: datetime) -> Run | None:
    match event:
        case e.RunQueued(spec=spec):
            return Run(session_id=spec.session_id, spec=spec, stage=Queued())
        case e.RunBlocked(spec=spec, reason=reason):
            return Run(session_id=spec.session_id, spec=spec, stage=Blocked(reason=reason))
        case e.RunBound(bound_session_id=session_id):
            outside = OutsideRun(
                reported_at=at,
                app_id=event.app_id,
                project_name=event.project_name,
                user_login_name=event.user_login_name,
            )
            stage = Active(phase="running", started_at=at)
            return Run(session_id=session_id, spec=None, stage=stage, outside=outside)
        case _:
            return None


def _claimed(state: Run, event: e.RunClaimed, _at: datetime) -> Run:
    stage = state.stage
    entries = state.entries
    if not event.resumed and not isinstance(stage, Finishing | Finished):
        stage, entries = Active(), 0
    elif isinstance(stage, Active) and stage.parked:
        stage = replace(stage, parked=None)
    return replace(state, stage=stage, attempt=event.attempt, lease_generation=event.lease_generation, entries=entries)


def _parked(state: Run, event: e.RunParked, _at: datetime) -> Run:
    if not isinstance(state.stage, Active):
        return state
    return replace(state, stage=replace(state.stage, parked=event.waits_for))


def _retry_scheduled(state: Run, event: e.RunRetryScheduled, _at: datetime) -> Run:
    excused = state.excused + event.excused
    return replace(state, stage=Queued(available_at=event.available_at), abort=None, excused=excused)


def _phase(state: Run, event: e.RunPhaseEntered, _at: datetime) -> Run:
    return replace(state, stage=Active(phase=event.phase)) if isinstance(state.stage, Active) else state


def _carried(state: Run, event: e.ConversationCarried, _at: datetime) -> Run:
    carried = InheritedConversation(
        origin_run_id=event.origin_run_id,
        origin_seq=event.origin_seq,
        resume_session_id=event.resume_session_id,
        told=event.told,
    )
    return replace(state, carried=carried)


def _started(state: Run, event: e.RunStarted, at: datetime) -> Run:
    running = Active(phase="running", generation=event.generation, boot_id=event.boot_id, started_at=at)
    return replace(state, stage=running, entries=0)


def _cancel_requested(state: Run, _event: e.RunCancelRequested, _at: datetime) -> Run:
    return replace(state, cancel_requested=True)


def _asked(state: Run, event: e.HumanLoopRequested, at: datetime) -> Run:
    if state.knows_question(event.question_id):
        return state
    question = Question(
        status="open",
        requested_at=at,
        attempt=state.attempt,
        timeout_ms=event.timeout_ms,
        default_answer=event.default_answer,
        by_callback=event.lease_generation == 0,
    )
    return replace(state, questions={**state.questions, event.question_id: question})


def _answering(state: Run, event: e.HumanLoopReplyAccepted, _at: datetime) -> Run:
    if event.question_id not in state.questions:
        return state
    question = replace(state.questions[event.question_id], status="answering", answer=event.answer)
    return replace(state, questions={**state.questions, event.question_id: question})


def _resolved(state: Run, event: e.HumanLoopResolved, at: datetime) -> Run:
    return _closed(state, event.question_id, at, status="resolved", answer=event.answer)


def _question_canceled(state: Run, event: e.HumanLoopCanceled, at: datetime) -> Run:
    return _closed(state, event.question_id, at, status="canceled", reason=event.reason)


def _question_expired(state: Run, event: e.HumanLoopExpired, at: datetime) -> Run:
    was_open = event.question_id in state.questions
    state = _closed(state, event.question_id, at, status="expired", reason=event.reason)
    if was_open and event.reason == "timeout" and isinstance(state.stage, Active):
        return replace(state, abort=unanswered_error(event.question_id))
    return state


def _closed(
    state: Run,
    key: str,
    at: datetime,
    *,
    status: Literal["resolved", "canceled", "expired"],
    answer: Any = None,
    reason: str = "",
) -> Run:
    known = state.question(key)
    if known is None:
        # Its end arrived before its request, which may never come.
        known = Question(status=status, requested_at=at, attempt=state.attempt, by_callback=True, asked=False)
    elif key not in state.questions:
        return state
    question = replace(known, status=status, answer=answer, reason=reason)
    if question.asked:
        question = replace(question, default_answer=None, answer=_remembered(answer), reason=_shortened(reason))
    return replace(
        state,
        questions=_without(state.questions, key),
        closed_questions=with_entry(state.closed_questions, key, question),
    )


def _remembered(answer: Any) -> Any:
    """An answer that the state keeps, to tell it to who answers again; a large one is only in the log."""
    return answer if len(msgspec.json.encode(answer)) <= MAX_REMEMBERED_BYTES else None


def _shortened(reason: str) -> str:
    return reason.encode(errors="replace")[:MAX_REMEMBERED_BYTES].decode(errors="ignore")


def _without(questions: dict[str, Question], key: str) -> dict[str, Question]:
    if key not in questions:
        return questions
    rest = dict(questions)
    del rest[key]
    return rest


def _timed_out(state: Run, event: e.RunTimedOut, _at: datetime) -> Run:
    return replace(state, abort=timeout_error(event.what, event.limit_ms)) if state.abort is None else state


def _aborted(state: Run, event: e.RunAborted, _at: datetime) -> Run:
    return replace(state, abort=event.error) if state.abort is None else state


def _quota_exceeded(state: Run, event: e.RunQuotaExceeded, _at: datetime) -> Run:
    if state.over_quota or isinstance(state.stage, Finished):
        return state
    return replace(state, abort=quota_error(event.quota, event.limit, event.reached))


def _agent_finished(state: Run, event: e.RunAgentFinished, _at: datetime) -> Run:
    return replace(
        state,
        stage=Finishing(outcome=event.outcome, error=event.error, by_callback=event.lease_generation == 0),
        usage=state.usage + event.usage,
        provider_session_id=event.provider_session_id,
    )


def _syncing(state: Run, event: e.RunSyncing, _at: datetime) -> Run:
    return replace(state, stage=replace(state.stage, sync_id=event.sync_id)) if _finishing(state) else state


def _exported(state: Run, _event: e.RunExported, _at: datetime) -> Run:
    return replace(state, stage=replace(state.stage, exported=True)) if _finishing(state) else state


def _finishing(state: Run) -> bool:
    return isinstance(state.stage, Finishing)


def _finished(state: Run, event: e.RunFinished, _at: datetime) -> Run:
    return replace(state, stage=Finished(outcome=event.outcome, exported=event.exported, error=event.error))


_HANDLERS: dict[type[Event], Callable[[Run, Any, datetime], Run]] = {
    e.RunClaimed: _claimed,
    e.RunParked: _parked,
    e.RunRetryScheduled: _retry_scheduled,
    e.RunPhaseEntered: _phase,
    e.ConversationCarried: _carried,
    e.RunStarted: _started,
    e.RunCancelRequested: _cancel_requested,
    e.HumanLoopRequested: _asked,
    e.HumanLoopReplyAccepted: _answering,
    e.HumanLoopResolved: _resolved,
    e.HumanLoopCanceled: _question_canceled,
    e.HumanLoopExpired: _question_expired,
    e.RunTimedOut: _timed_out,
    e.RunAborted: _aborted,
    e.RunQuotaExceeded: _quota_exceeded,
    e.RunAgentFinished: _agent_finished,
    e.RunSyncing: _syncing,
    e.RunExported: _exported,
    e.RunFinished: _finished,
}

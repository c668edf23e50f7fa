"""Questions of agents to people: one row per question, and one per run with the run's session.

A question's events don't name the session, the run's first event does. A read joins the two rows by run id, within one
read model and so one snapshot.
"""

import hashlib
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from domain.record import RecordedEvent
from domain.run import events as e
from domain.run.values import Option, QuestionKind
from projections.projection import Column, Projection, RowStruct, View, id_of_stream

RequestStatus = Literal["open", "answering", "resolved", "canceled", "expired"]
PENDING: frozenset[str] = frozenset({"open", "answering"})


class AskingRun(RowStruct, frozen=True, kw_only=True, tag="run"):
    """The run that questions belong to. Key: the run id."""

    run_id: str
    session_id: str


class HumanLoopRow(RowStruct, frozen=True, kw_only=True, tag="request"):
    """One question. Key: `{runId} {digest of the question id}`, because agents choose question ids of any length."""

    run_id: str
    question_id: str
    kind: QuestionKind = "question"
    prompt: str = ""
    options: tuple[Option, ...] = ()
    default_answer: Any = None
    timeout_ms: int | None = None
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)
    status: RequestStatus = "open"
    requested_at: datetime
    position: int
    seq: int
    answer: Any = None
    reason: str = ""
    resolved_at: datetime | None = None


class OptionView(View, frozen=True, kw_only=True):
    label: str
    description: str


class HumanLoopRequest(View, frozen=True, kw_only=True):
    """`status`: `answering` while an accepted answer is being delivered to the agent. `resolvedAt`: when it was
    resolved, canceled or expired; `reason`: why it was canceled or expired. `metadata`: what the asker added;
    the API adds `deadlineAt`, which is `expiresAt` unless the asker named it. `seq`, `position`: of
    `human_loop.requested`."""

    run_id: str
    session_id: str
    question_id: str
    kind: QuestionKind
    prompt: str
    options: tuple[OptionView, ...]
    default_answer: Any
    metadata: dict[str, Any]
    status: RequestStatus
    requested_at: datetime
    expires_at: datetime | None
    answer: Any
    reason: str
    resolved_at: datetime | None
    seq: int
    position: int


_QUESTION_EVENTS = (
    e.HumanLoopRequested,
    e.HumanLoopReplyAccepted,
    e.HumanLoopResolved,
    e.HumanLoopCanceled,
    e.HumanLoopExpired,
)


def key(recorded: RecordedEvent) -> str:
    event = recorded.event
    if isinstance(event, _QUESTION_EVENTS):
        return question_key(id_of_stream(recorded), event.question_id)
    return id_of_stream(recorded)


def question_key(run_id: str, question_id: str) -> str:
    """The key of a question's row."""
    return f"{run_id} {hashlib.sha256(question_id.encode()).hexdigest()[:32]}"


def fold(row: AskingRun | HumanLoopRow | None, recorded: RecordedEvent) -> AskingRun | HumanLoopRow | None:
    event = recorded.event
    match event:
        case e.RunQueued(spec=spec) | e.RunBlocked(spec=spec) if row is None:
            return AskingRun(run_id=id_of_stream(recorded), session_id=spec.session_id)
        case e.RunBound(bound_session_id=session_id) if row is None:
            return AskingRun(run_id=id_of_stream(recorded), session_id=session_id)
        case e.HumanLoopRequested() if not (isinstance(row, HumanLoopRow) and row.status in PENDING):
            # A later attempt may ask the same question again.
            return HumanLoopRow(
                run_id=id_of_stream(recorded),
                question_id=event.question_id,
                kind=event.kind,
                prompt=event.prompt,
                options=event.options,
                default_answer=event.default_answer,
                timeout_ms=event.timeout_ms,
                metadata=event.metadata,
                requested_at=recorded.occurred_at,
                position=recorded.position,
                seq=recorded.seq,
            )
    if not isinstance(row, HumanLoopRow):
        return row
    match event:
        case e.HumanLoopReplyAccepted(answer=answer):
            return replace(row, status="answering", answer=answer)
        case e.HumanLoopResolved(answer=answer):
            return replace(row, status="resolved", answer=answer, resolved_at=recorded.occurred_at)
        case e.HumanLoopCanceled(reason=reason):
            return replace(row, status="canceled", answer=None, reason=reason, resolved_at=recorded.occurred_at)
        case e.HumanLoopExpired(reason=reason):
            return replace(row, status="expired", answer=None, reason=reason, resolved_at=recorded.occurred_at)
        case _:
            return row


def columns(row: AskingRun | HumanLoopRow) -> tuple[Column, ...]:
    """In the order of the table: run id, status (null in a run's row), position of the request (0 in a run's row), time
    of expiry (null unless the question is open and has a timeout)."""
    if isinstance(row, AskingRun):
        return (row.run_id, None, 0, None)
    return (row.run_id, row.status, row.position, expires_at(row) if row.status == "open" else None)


def view(row: HumanLoopRow, run: AskingRun | None) -> HumanLoopRequest:
    """The view of a question, with the session of its run."""
    return HumanLoopRequest(
        run_id=row.run_id,
        session_id=run.session_id if run else "",
        question_id=row.question_id,
        kind=row.kind,
        prompt=row.prompt,
        options=tuple(OptionView(label=option.label, description=option.description) for option in row.options),
        default_answer=row.default_answer,
        metadata=row.metadata,
        status=row.status,
        requested_at=row.requested_at,
        expires_at=expires_at(row),
        answer=row.answer,
        reason=row.reason,
        resolved_at=row.resolved_at,
        seq=row.seq,
        position=row.position,
    )


def expires_at(row: HumanLoopRow) -> datetime | None:
    """When the question expires; None if it does not, or beyond the year 9999."""
    if row.timeout_ms is None:
        return None
    try:
        return row.requested_at + timedelta(milliseconds=row.timeout_ms)
    except OverflowError:
        return None


HUMAN_LOOP: Projection[AskingRun | HumanLoopRow] = Projection(
    name="human_loop",
    version=4,
    row_type=AskingRun | HumanLoopRow,
    events=[e.RunQueued, e.RunBlocked, e.RunBound, *_QUESTION_EVENTS],
    key=key,
    fold=fold,
    columns=columns,
)

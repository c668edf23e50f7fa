"""Questions that agents asked people, each in a row of its own, and for every run the row that says whose they are.

A question's events don't name its session; the run's first event does. Both rows have the run's id, so that a read
joins them within one read model and one snapshot.
"""

import hashlib
from datetime import datetime, timedelta
from typing import Any, Literal

from msgspec.structs import replace

from domain.record import RecordedEvent
from domain.run import events as e
from domain.run.values import Option, QuestionKind
from projections.projection import Column, Projection, RowStruct, View, id_of_stream

RequestStatus = Literal["open", "answering", "resolved", "canceled", "expired"]
PENDING: frozenset[str] = frozenset({"open", "answering"})


class AskingRun(RowStruct, frozen=True, kw_only=True, tag="run"):
    """The run that questions belong to. Its key is the run id."""

    run_id: str
    session_id: str


class HumanLoopRow(RowStruct, frozen=True, kw_only=True, tag="request"):
    """One question. Its key is `{runId} {digest of the question id}`: an agent chooses that id, of any length."""

    run_id: str
    question_id: str
    kind: QuestionKind = "question"
    prompt: str = ""
    options: tuple[Option, ...] = ()
    default_answer: Any = None
    timeout_ms: int | None = None
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
    """`status`: `answering` while an accepted answer is on its way to the agent. `resolvedAt`: when it ended, whatever
    the end; `reason`: why it was canceled or expired. `seq` and `position` are those of the event that asked."""

    run_id: str
    session_id: str
    question_id: str
    kind: QuestionKind
    prompt: str
    options: tuple[OptionView, ...]
    default_answer: Any
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
            # A later attempt may ask the same again.
            return HumanLoopRow(
                run_id=id_of_stream(recorded),
                question_id=event.question_id,
                kind=event.kind,
                prompt=event.prompt,
                options=event.options,
                default_answer=event.default_answer,
                timeout_ms=event.timeout_ms,
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
    """In the order of the table: the run, the status (null in a run's row), the request's position (0 there)."""
    if isinstance(row, AskingRun):
        return (row.run_id, None, 0)
    return (row.run_id, row.status, row.position)


def view(row: HumanLoopRow, run: AskingRun | None) -> HumanLoopRequest:
    """The question as the API shows it, with the session of its run."""
    return HumanLoopRequest(
        run_id=row.run_id,
        session_id=run.session_id if run else "",
        question_id=row.question_id,
        kind=row.kind,
        prompt=row.prompt,
        options=tuple(OptionView(label=option.label, description=option.description) for option in row.options),
        default_answer=row.default_answer,
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
    """When nobody's answer counts any more; None: never, or so late that no calendar has it."""
    if row.timeout_ms is None:
        return None
    try:
        return row.requested_at + timedelta(milliseconds=row.timeout_ms)
    except OverflowError:
        return None


HUMAN_LOOP: Projection[AskingRun | HumanLoopRow] = Projection(
    name="human_loop",
    version=2,
    row_type=AskingRun | HumanLoopRow,
    events=[e.RunQueued, e.RunBlocked, e.RunBound, *_QUESTION_EVENTS],
    key=key,
    fold=fold,
    columns=columns,
)

"""Runs.

`message.delta` is not folded: it would rewrite the row twenty times a second without a change of the run's state. The
text of the last message and the stream's end are read from the log when a run is shown.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from domain.record import RecordedEvent
from domain.run import events as e
from domain.run.evolve import evolve
from domain.run.state import Active, Blocked, Finished, Finishing, Question, Queued, Run
from domain.run.values import RunError, RunOutcome, RunSpec, Usage, Warn
from projections.projection import Column, Projection, RowStruct, View, id_of_stream

MAX_TEXT = 64 * 1024
MAX_CHUNKS = 4000
MAX_CHUNK_BYTES = 4 * 1024 * 1024
MAX_WARNINGS, MAX_WARNING_TEXT = 100, 2000
"""The newest warnings in a run's row, and how many characters of each: every change writes the whole row."""


class ToolCounts(View, frozen=True, kw_only=True):
    started: int = 0
    finished: int = 0
    failed: int = 0


class MessageMarks(RowStruct, frozen=True, kw_only=True):
    """Where the last message is in the stream: after seq `begins_after`; `ends_at`: the seq of the last `message.stop`,
    0 if there is none since the agent's start. `count`: the number of ended messages."""

    begins_after: int = 0
    ends_at: int = 0
    count: int = 0


class RunRow(RowStruct, frozen=True, kw_only=True):
    """`run`: the aggregate's state, with a spec without messages, options and tools, and with open questions only."""

    run_id: str
    run: Run
    created_position: int
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    last_error: RunError | None = None
    warnings: tuple[Warn, ...] = ()
    tools: ToolCounts = ToolCounts()
    message: MessageMarks = MessageMarks()


class StreamEnd(msgspec.Struct, frozen=True, kw_only=True):
    """The last event of a stream, as of the position that was read."""

    seq: int
    position: int
    at: datetime


class UsageView(View, frozen=True, kw_only=True):
    """`cachedInputTokens` and `costUsd`: null if the provider does not report them."""

    input_tokens: int
    output_tokens: int
    cached_input_tokens: int | None
    cost_usd: float | None


class TextChunk(msgspec.Struct, frozen=True):
    """A part of a message's text: a delta of stdout, or the whole text in a `message.stop`."""

    seq: int
    text: str


class RunSummary(View, frozen=True, kw_only=True):
    """`state`: queued, blocked, claimed, restoring, linking, preparing, running, waiting_human, syncing, exported,
    succeeded, failed or canceled. `error`: of the run, or else of its last attempt. `availableAt`: the earliest time of
    the next attempt, while it is queued for one. `seq` (a cursor for the live stream), `position`, `updatedAt`: of the
    last event of its stream."""

    run_id: str
    session_id: str
    app_id: str
    project_name: str
    user_login_name: str
    provider: str
    model: str
    state: str
    attempt: int
    max_attempts: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    updated_at: datetime
    available_at: datetime | None
    blocked_reason: str
    outcome: RunOutcome | None
    error: RunError | None
    exported: bool
    warnings: tuple[Warn, ...]
    usage: UsageView
    provider_session_id: str
    cancel_requested: bool
    outside: bool
    open_questions: tuple[str, ...]
    tools: ToolCounts
    messages: int
    seq: int
    position: int


class RunSnapshot(RunSummary, frozen=True, kw_only=True):
    """A summary, with the text of the last message so far. `textTruncated`: `text` is only the end of it."""

    text: str
    text_truncated: bool


def fold(row: RunRow | None, recorded: RecordedEvent) -> RunRow | None:
    run = evolve(row.run if row else None, recorded)
    if run is None:
        return None
    if row is None:
        row = RunRow(
            run_id=id_of_stream(recorded),
            run=replace(run, spec=_slim_spec(run.spec)),
            created_position=recorded.position,
            created_at=recorded.occurred_at,
        )
    elif run is not row.run:
        row = replace(row, run=_slim_questions(run, row.run))
    return _with_details(row, recorded)


def _with_details(row: RunRow, recorded: RecordedEvent) -> RunRow:
    """The row's fields that are not part of the aggregate's state."""
    match recorded.event:
        case e.ToolStarted():
            return replace(row, tools=replace(row.tools, started=row.tools.started + 1))
        case e.ToolEnded(ok=ok):
            failed = row.tools.failed + (not ok)
            return replace(row, tools=replace(row.tools, finished=row.tools.finished + 1, failed=failed))
        case e.MessageStopped():
            return replace(row, message=_next_message(row.message, recorded.seq))
        case e.RunWarning(warning=warning):
            return replace(row, warnings=(*row.warnings, _shortened(warning))[-MAX_WARNINGS:])
        case e.RunStarted():
            marks = MessageMarks(begins_after=recorded.seq, count=row.message.count)
            return replace(row, started_at=row.started_at or recorded.occurred_at, message=marks)
        case e.RunBound():
            return replace(row, started_at=row.started_at or recorded.occurred_at)
        case e.RunRetryScheduled(error=error):
            return replace(row, last_error=error)
        case e.RunFinished(error=error):
            return replace(row, finished_at=recorded.occurred_at, last_error=error)
        case _:
            return row


def _shortened(warning: Warn) -> Warn:
    text = warning.message
    if len(text) <= MAX_WARNING_TEXT:
        return warning
    return replace(warning, message=f"{text[:MAX_WARNING_TEXT]}… ({len(text):,} characters; the log has them all)")


def _next_message(marks: MessageMarks, seq: int) -> MessageMarks:
    return MessageMarks(begins_after=marks.ends_at or marks.begins_after, ends_at=seq, count=marks.count + 1)


def _slim_spec(spec: RunSpec | None) -> RunSpec | None:
    return replace(spec, messages=(), provider_options={}, tools=()) if spec else None


def _slim_questions(run: Run, before: Run) -> Run:
    """`run` without closed questions, and of the open ones without what lists don't show. Those of the row `before`
    are so already."""
    if run.questions is before.questions and not run.closed_questions:
        return run
    slim = {
        key: question if before.questions.get(key) is question else _slim_question(question)
        for key, question in run.questions.items()
    }
    return replace(run, questions=slim, closed_questions=())


def _slim_question(question: Question) -> Question:
    return Question(status=question.status, requested_at=question.requested_at, timeout_ms=question.timeout_ms)


def columns(row: RunRow) -> tuple[Column, ...]:
    """In the order of the table."""
    spec, owner = row.run.spec, row.run.spec or row.run.outside
    return (
        row.created_position,
        row.run.public_state,
        row.run.session_id,
        spec.provider if spec else "",
        owner.app_id if owner else "",
        owner.user_login_name if owner else "",
        len(row.run.open_questions),
    )


def last_message(marks: MessageMarks, chunks: Sequence[TextChunk], *, more: bool = False) -> tuple[str, bool]:
    """The text of the last message so far, at most MAX_TEXT characters of its end, and whether it was cut. `chunks`: of
    the stream after `marks.begins_after`, newest first, at most MAX_CHUNKS + 1; `more`: there are older ones. The text
    of a `message.stop` replaces that of its deltas."""
    chosen = [chunk for chunk in chunks if chunk.seq > marks.ends_at]
    if not chosen:
        whole = [chunk for chunk in chunks if chunk.seq == marks.ends_at and chunk.text]
        chosen, more = whole or list(chunks), more and not whole
    text = "".join(chunk.text for chunk in reversed(chosen[:MAX_CHUNKS]))
    return text[-MAX_TEXT:], more or len(text) > MAX_TEXT or len(chosen) > MAX_CHUNKS


def summary(row: RunRow, end: StreamEnd) -> RunSummary:
    """The view of a row in lists."""
    return RunSummary(**_fields(row, end))


def snapshot(row: RunRow, end: StreamEnd, chunks: Sequence[TextChunk], *, more: bool = False) -> RunSnapshot:
    """The view of a single run; `chunks` and `more` as in `last_message`."""
    text, truncated = last_message(row.message, chunks, more=more)
    return RunSnapshot(**_fields(row, end), text=text, text_truncated=truncated)


def _fields(row: RunRow, end: StreamEnd) -> dict[str, Any]:
    run, stage = row.run, row.run.stage
    spec = run.spec or RunSpec(session_id=run.session_id, app_id="", project_name="", user_login_name="",
                               provider="", messages=(), max_attempts=0)  # fmt: skip
    owner = run.outside or spec
    ended = stage if isinstance(stage, Finishing | Finished) else None
    return {
        "run_id": row.run_id,
        "session_id": run.session_id,
        "app_id": owner.app_id,
        "project_name": owner.project_name,
        "user_login_name": owner.user_login_name,
        "provider": spec.provider,
        "model": spec.model,
        "state": run.public_state,
        "attempt": run.attempt,
        "max_attempts": spec.max_attempts,
        "created_at": row.created_at,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
        "updated_at": end.at,
        "available_at": stage.available_at if isinstance(stage, Queued) else None,
        "blocked_reason": stage.reason if isinstance(stage, Blocked) else "",
        "outcome": ended.outcome if ended else None,
        "error": (ended.error if ended else None) or row.last_error,
        "exported": ended.exported if ended else False,
        "warnings": row.warnings,
        "usage": usage_view(run.usage),
        "provider_session_id": run.provider_session_id,
        "cancel_requested": run.cancel_requested,
        "outside": run.is_external,
        "open_questions": run.open_questions if isinstance(stage, Active) else (),
        "tools": row.tools,
        "messages": row.message.count,
        "seq": end.seq,
        "position": end.position,
    }


def usage_view(usage: Usage) -> UsageView:
    return UsageView(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cached_input_tokens=usage.cached_input_tokens,
        cost_usd=usage.cost_usd,
    )


RUNS: Projection[RunRow] = Projection(
    name="runs",
    version=5,
    row_type=RunRow,
    events=[
        e.RunQueued,
        e.RunBound,
        e.RunBlocked,
        e.RunWarning,
        e.RunClaimed,
        e.RunRetryScheduled,
        e.RunPhaseEntered,
        e.RunStarted,
        e.MessageStopped,
        e.ToolStarted,
        e.ToolEnded,
        e.HumanLoopRequested,
        e.HumanLoopReplyAccepted,
        e.HumanLoopResolved,
        e.HumanLoopCanceled,
        e.HumanLoopExpired,
        e.RunCancelRequested,
        e.RunAgentFinished,
        e.RunSyncing,
        e.RunExported,
        e.RunFinished,
    ],
    key=id_of_stream,
    fold=fold,
    columns=columns,
    row_per_stream=True,
)

"""A run or session as one JSON document, which diff and bisect evaluate. Pure.

A run's document has the fields of RunSnapshot, with `todos` and `questions` by id; a session's those of
SessionWorkerView. A fold steps through the stream's events, so that each further document costs one step.
"""

from collections import deque
from typing import Any, Protocol

import msgspec

from domain.record import RecordedEvent
from domain.run.events import MessageDelta, MessageStopped
from projections.human_loop import HUMAN_LOOP, AskingRun, HumanLoopRow
from projections.human_loop import view as question_view
from projections.projection import Projection
from projections.runs import MAX_CHUNKS, RUNS, RunRow, StreamEnd, TextChunk, snapshot
from projections.session_workers import SESSION_WORKERS, SessionWorkerRow
from projections.session_workers import view as worker_view
from projections.todos import TODOS
from projections.todos import view as todos_view

Rows = dict[str, Any]
"""The rows of one projection, by key."""

Document = dict[str, Any]
ALWAYS_CHANGING = ("seq", "position", "updatedAt")


class DocumentFold(Protocol):
    """Begins with the rows of its `projections` as of some event, and steps on from there."""

    projections: tuple[Projection[Any], ...]

    def begin(self, rows: dict[str, Rows]) -> None: ...

    def step(self, recorded: RecordedEvent) -> bool:
        """Fold one more event. Returns whether fields other than ALWAYS_CHANGING may have changed."""
        ...

    def document(self, end: StreamEnd) -> Document | None:
        """The document as of the last event, `end`; None before the stream's first event."""
        ...


class RunFold:
    """The document's `text` comes from the chunks given to `begin_text` and from the events folded since."""

    projections: tuple[Projection[Any], ...] = (RUNS, TODOS, HUMAN_LOOP)

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._rows: dict[str, Rows] = {projection.name: {} for projection in self.projections}
        self._chunks: deque[TextChunk] = deque(maxlen=MAX_CHUNKS + 1)

    def begin(self, rows: dict[str, Rows]) -> None:
        self._rows = {name: dict(of_projection) for name, of_projection in rows.items()}

    @property
    def row(self) -> RunRow | None:
        row: RunRow | None = self._rows[RUNS.name].get(self._run_id)
        return row

    def begin_text(self, chunks: list[TextChunk]) -> None:
        """`chunks`: those of the last message as of the beginning, newest first."""
        self._chunks = deque(chunks, maxlen=MAX_CHUNKS + 1)

    def step(self, recorded: RecordedEvent) -> bool:
        match recorded.event:
            case MessageDelta(text=text, channel="stdout") | MessageStopped(text=text):
                self._chunks.appendleft(TextChunk(recorded.seq, text))
                changed = True
            case _:
                changed = False
        return fold_into(self._rows, self.projections, recorded) or changed

    def document(self, end: StreamEnd) -> Document | None:
        row = self.row
        if row is None:
            return None
        chunks = [chunk for chunk in self._chunks if chunk.seq > row.message.begins_after]
        document: Document = msgspec.to_builtins(snapshot(row, end, chunks))
        todos = todos_view(self._rows[TODOS.name].get(self._run_id))
        document["todos"] = {item["todoId"]: item for item in msgspec.to_builtins(todos)}
        asked = self._rows[HUMAN_LOOP.name]
        run = asked.get(self._run_id)
        document["questions"] = {
            question.question_id: msgspec.to_builtins(
                question_view(question, run if isinstance(run, AskingRun) else None)
            )
            for question in asked.values()
            if isinstance(question, HumanLoopRow)
        }
        return document


class SessionFold:
    projections: tuple[Projection[Any], ...] = (SESSION_WORKERS,)

    def __init__(self, session_id: str) -> None:
        self._session_id = session_id
        self._rows: dict[str, Rows] = {SESSION_WORKERS.name: {}}

    def begin(self, rows: dict[str, Rows]) -> None:
        self._rows = {name: dict(of_projection) for name, of_projection in rows.items()}

    def step(self, recorded: RecordedEvent) -> bool:
        return fold_into(self._rows, self.projections, recorded)

    def document(self, end: StreamEnd) -> Document | None:
        del end
        row: SessionWorkerRow | None = self._rows[SESSION_WORKERS.name].get(self._session_id)
        return None if row is None else msgspec.to_builtins(worker_view(row))


def fold_into(rows: dict[str, Rows], projections: tuple[Projection[Any], ...], recorded: RecordedEvent) -> bool:
    """Fold an event into the rows of several projections. Returns whether any row changed."""
    changed = False
    for projection in projections:
        if recorded.event.wire_name in projection.event_types:
            of_projection, key = rows[projection.name], projection.key(recorded)
            before = of_projection.get(key)
            after = projection.fold(before, recorded)
            if after is not before and after is not None:
                of_projection[key] = after
                changed = True
    return changed

"""A run or a session as one document, as time travel compares and questions it. Pure.

A run's document has the fields of its snapshot, its `todos` by id and its `questions` by id; a session's has those of
its worker. A fold steps through the stream's events, so that the document after each of them costs one step.
"""

from collections import deque
from typing import Any, Protocol

import msgspec

from domain.record import RecordedEvent
from domain.run.events import MessageDelta, MessageStopped
from projections.human_loop import HUMAN_LOOP, AskingRun, HumanLoopRow
from projections.human_loop import view as question_view
from projections.projection import Projection
from projections.runs import MAX_PIECES, RUNS, Piece, RunRow, StreamEnd, snapshot
from projections.session_workers import SESSION_WORKERS, SessionWorkerRow
from projections.session_workers import view as worker_view
from projections.todos import TODOS
from projections.todos import view as todos_view

Rows = dict[str, Any]
"""By key, of one projection."""

Document = dict[str, Any]
ALWAYS_CHANGING = ("seq", "position", "updatedAt")


class DocumentFold(Protocol):
    """Begins with the rows of its `projections` after some event, and steps on from there."""

    projections: tuple[Projection[Any], ...]
    text_of: frozenset[str]
    """The event types that change the document's text, which the fold itself does not have."""

    def begin(self, rows: dict[str, Rows]) -> None: ...

    def step(self, recorded: RecordedEvent) -> bool:
        """Fold one more event; whether anything but the ALWAYS_CHANGING fields may have changed."""
        ...

    def document(self, end: StreamEnd) -> Document | None:
        """After the last event, which is `end`; None while nothing is known."""
        ...


class RunFold:
    """`text` of the document is that of the pieces given to `tell_text`, and of the events that were stepped over."""

    projections: tuple[Projection[Any], ...] = (RUNS, TODOS, HUMAN_LOOP)
    text_of = frozenset({MessageDelta.wire_name, MessageStopped.wire_name})

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._rows: dict[str, Rows] = {projection.name: {} for projection in self.projections}
        self._pieces: deque[Piece] = deque(maxlen=MAX_PIECES + 1)

    def begin(self, rows: dict[str, Rows]) -> None:
        self._rows = {name: dict(of_projection) for name, of_projection in rows.items()}

    @property
    def row(self) -> RunRow | None:
        row: RunRow | None = self._rows[RUNS.name].get(self._run_id)
        return row

    def tell_text(self, pieces: list[Piece]) -> None:
        """The pieces of the last message so far, newest first."""
        self._pieces = deque(pieces, maxlen=MAX_PIECES + 1)

    def step(self, recorded: RecordedEvent) -> bool:
        match recorded.event:
            case MessageDelta(text=text, channel="stdout") | MessageStopped(text=text):
                self._pieces.appendleft(Piece(recorded.seq, text))
                changed = True
            case _:
                changed = False
        return fold_into(self._rows, self.projections, recorded) or changed

    def document(self, end: StreamEnd) -> Document | None:
        row = self.row
        if row is None:
            return None
        pieces = [piece for piece in self._pieces if piece.seq > row.message.begins_after]
        document: Document = msgspec.to_builtins(snapshot(row, end, pieces))
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
    text_of: frozenset[str] = frozenset()

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
    """Fold an event into the rows of several projections; whether any of them changed."""
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

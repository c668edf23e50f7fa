"""A conversation told again from the log, for an agent that was not there: who said what, and which tools were used.

Bounded: the first thing that the user said and the latest of everything are kept, what lies between is left out first;
what was left out is said in its place.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec

from domain.event import Event
from domain.run import events as e
from domain.run.values import Message, Todo

MAX_CHARS = 96 * 1024
MAX_BYTES = 200 * 1024
"""Of the messages as JSON: they have to fit into an event."""
MAX_FIRST = 8 * 1024
MAX_TOOL_INPUT = 1000
MAX_TOOL_OUTPUT = 2000
_HELD_CHARS = 4 * MAX_CHARS
_UNANSWERED = "[the conversation was forked here, before an answer]"
Role = Literal["user", "assistant", "system"]


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """`messages` alternate, and end with the agent's; `cut` characters were left out."""

    messages: tuple[Message, ...]
    cut: int


class _Piece(msgspec.Struct):
    role: Role
    text: str


class Retelling:
    """Takes the events of a run, or of several that went on with the same conversation, in order."""

    def __init__(self, *, max_chars: int = MAX_CHARS) -> None:
        self._max = max_chars
        self._system: list[str] = []
        self._first: _Piece | None = None
        self._pieces: deque[_Piece] = deque()
        self._held = self._dropped = 0
        self._message: list[str] = []
        self._message_chars = 0
        self._todos: dict[str, Todo] = {}

    def take(self, event: Event) -> None:
        """Events that are no part of a conversation change nothing."""
        match event:
            case e.RunQueued(spec=spec) | e.RunBlocked(spec=spec):
                self._say_all(spec.messages)
            case e.ConversationCarried(told=told):
                self._say_before(told)
            case e.MessageDelta(text=text, channel="stdout"):
                self._message.append(text)
                self._message_chars += len(text)
                self._bound_message()
            case e.MessageStopped(text=text):
                self._end_message(text)
            case e.TodosReplaced(todos=todos):
                self._todos = {todo.todo_id: todo for todo in todos}
            case e.TodoUpdated(todo=todo):
                self._todos = {**self._todos, todo.todo_id: todo}
            case _ if note := _note(event):
                self._end_message()
                self._say("assistant", note)

    def told(self) -> Told:
        """The conversation so far."""
        self._end_message()
        if self._todos:
            lines = "\n".join(
                f"- {todo.status}: {todo.content}" for todo in sorted(self._todos.values(), key=lambda todo: todo.order)
            )
            self._say("assistant", f"[the list of things to do:\n{lines}]")
            self._todos = {}
        room = self._max
        while True:
            told = self._told_within(room)
            if room < MAX_FIRST or len(msgspec.json.encode(told.messages)) <= MAX_BYTES:
                return told
            room //= 2

    def _told_within(self, room: int) -> Told:
        pieces, cut = self._fitting(room)
        if self._first is not None and (not pieces or pieces[-1].role == "user"):
            pieces.append(_Piece("assistant", _UNANSWERED))
        system = "\n\n".join(self._system)
        shown = [Message(role="system", content=_shown(system, MAX_FIRST))] if system else []
        return Told(messages=(*shown, *_joined(pieces)), cut=cut + max(len(system) - MAX_FIRST, 0))

    def _say_all(self, messages: Sequence[Message]) -> None:
        self._end_message()
        for message in messages:
            if message.role == "system":
                if message.content not in self._system:
                    self._system.append(message.content)
            else:
                self._say(message.role, message.content)

    def _say_before(self, told: Sequence[Message]) -> None:
        """What the run was told before its own messages, which came first in its stream."""
        own = [*([self._first] if self._first is not None else []), *self._pieces]
        self._first, self._held = None, 0
        self._pieces.clear()
        self._say_all(told)
        for piece in own:
            self._say(piece.role, piece.text)

    def _say(self, role: Role, text: str) -> None:
        if not text.strip():
            return
        piece = _Piece(role, text)
        if self._first is None and role == "user":
            self._first = piece
            return
        self._pieces.append(piece)
        self._held += len(text)
        while self._held > _HELD_CHARS and len(self._pieces) > 1:
            gone = self._pieces.popleft()
            self._held -= len(gone.text)
            self._dropped += len(gone.text)

    def _end_message(self, whole: str = "") -> None:
        text = whole or "".join(self._message)
        self._message, self._message_chars = [], 0
        self._say("assistant", text)

    def _bound_message(self) -> None:
        if len(self._message) > 4096 or self._message_chars > 2 * _HELD_CHARS:
            text = "".join(self._message)
            kept = text[-_HELD_CHARS:]
            self._dropped += len(text) - len(kept)
            self._message, self._message_chars = [kept], len(kept)

    def _fitting(self, room: int) -> tuple[list[_Piece], int]:
        """The first piece and as many of the last ones as there is room for, and how much that leaves out."""
        begin: list[_Piece] = []
        end: list[_Piece] = []
        cut = 0
        if self._first is not None:
            text = self._first.text
            limit = max(min(MAX_FIRST, room), room - self._held)
            cut = max(len(text) - limit, 0)
            begin = [_Piece("user", text if not cut else f"{text[:limit]}\n[… {cut} characters left out …]")]
            room -= min(len(text), limit)
        missing = self._dropped
        for piece in reversed(self._pieces):
            kept = piece.text[-room:] if room > 0 else ""
            missing += len(piece.text) - len(kept)
            room -= len(kept)
            if kept:
                end.append(_Piece(piece.role, kept))
        end.reverse()
        gap = [_Piece("assistant", f"[… {missing} characters of the conversation left out here …]")] if missing else []
        return [*begin, *gap, *end], cut + missing


def retold(events: Iterable[Event]) -> Told:
    """The conversation of these events."""
    retelling = Retelling()
    for event in events:
        retelling.take(event)
    return retelling.told()


def _joined(pieces: Iterable[_Piece]) -> Iterable[Message]:
    """Pieces in a row of one role are one message."""
    role: Role | None = None
    texts: list[str] = []
    for piece in pieces:
        if piece.role != role and role is not None:
            yield Message(role=role, content="\n\n".join(texts))
            texts = []
        role = piece.role
        texts.append(piece.text.strip("\n"))
    if role is not None:
        yield Message(role=role, content="\n\n".join(texts))


def _note(event: Event) -> str:
    """What an agent that was not there must know of an event that nobody said; empty for all others."""
    match event:
        case e.ToolStarted(name=name, input=given):
            return f"[tool {name}: {_shown(given, MAX_TOOL_INPUT)}]"
        case e.ToolEnded(output_ref=ref) if ref is not None:
            return f"[its result: {ref.size} bytes, not told again]"
        case e.ToolEnded(output=output, ok=ok):
            return f"[{'its result' if ok else 'it failed'}: {_shown(output, MAX_TOOL_OUTPUT)}]"
        case e.HumanLoopRequested(prompt=prompt, options=options):
            choices = f" ({' / '.join(option.label for option in options)})" if options else ""
            return f"[asked the user: {prompt}{choices}]"
        case e.HumanLoopResolved(answer=answer):
            return f"[the user answered: {_shown(answer, MAX_TOOL_INPUT)}]"
        case e.RunRetryScheduled(error=error) | e.RunAgentFinished(error=error) if error is not None:
            return f"[the attempt failed: {error.message}]"
        case e.RunCancelRequested():
            return "[the user canceled the run]"
        case _:
            return ""


def _shown(value: Any, limit: int) -> str:
    text = value if isinstance(value, str) else "" if value is None else msgspec.json.encode(value).decode()
    return text if len(text) <= limit else f"{text[:limit]} [… {len(text) - limit} characters left out …]"

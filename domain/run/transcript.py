"""The transcript of a conversation, rebuilt from its events for an agent that can't resume it: messages and tool calls.

It is bounded: the user's first message and the latest entries are kept, what lies between is left out, and a note says
how much.
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
"""Of the messages as JSON, because an event holds them (MAX_PAYLOAD_BYTES)."""
MAX_FIRST = 8 * 1024
MAX_TOOL_INPUT = 1000
MAX_TOOL_OUTPUT = 2000
_HELD_CHARS = 4 * MAX_CHARS
_UNANSWERED = "[the conversation was forked here, before an answer]"
Role = Literal["user", "assistant", "system"]


class Transcript(msgspec.Struct, frozen=True, kw_only=True):
    """`messages`: system messages as one, then those of user and assistant in turn, the assistant's last. `cut`: the
    number of characters left out."""

    messages: tuple[Message, ...]
    cut: int


class _Entry(msgspec.Struct):
    role: Role
    text: str


class TranscriptBuilder:
    """Built from the events of one run, or of several that continued one conversation, added in order."""

    def __init__(self, *, max_chars: int = MAX_CHARS) -> None:
        self._max = max_chars
        self._system: list[str] = []
        self._first: _Entry | None = None
        self._entries: deque[_Entry] = deque()
        self._held = self._dropped = 0
        self._message: list[str] = []
        self._message_chars = 0
        self._todos: dict[str, Todo] = {}

    def add(self, event: Event) -> None:
        """Add the next event. Those that are not part of the conversation are ignored."""
        match event:
            case e.RunQueued(spec=spec) | e.RunBlocked(spec=spec):
                self._add_messages(spec.messages)
            case e.ConversationCarried(told=told):
                self._prepend(told)
            case e.MessageDelta(text=text, channel="stdout"):
                self._message.append(text)
                self._message_chars += len(text)
                self._bound_message()
            case e.MessageStopped(text=text):
                self._end_message(text)
            case e.TodosReplaced(todos=todos):
                self._todos = {todo.todo_id: todo for todo in todos}
            case e.TodoUpdated(todo=todo):
                self._todos[todo.todo_id] = todo
            case _ if note := _note(event):
                self._end_message()
                self._add_entry("assistant", note)

    def transcript(self) -> Transcript:
        """The transcript of all events added so far."""
        self._end_message()
        if self._todos:
            lines = "\n".join(
                f"- {todo.status}: {todo.content}" for todo in sorted(self._todos.values(), key=lambda todo: todo.order)
            )
            self._add_entry("assistant", f"[the list of things to do:\n{lines}]")
            self._todos = {}
        space = self._max
        while True:
            transcript = self._within(space)
            if space < MAX_FIRST or len(msgspec.json.encode(transcript.messages)) <= MAX_BYTES:
                return transcript
            space //= 2

    def _within(self, space: int) -> Transcript:
        entries, cut = self._kept_entries(space)
        if self._first is not None and (not entries or entries[-1].role == "user"):
            entries.append(_Entry("assistant", _UNANSWERED))
        system = "\n\n".join(self._system)
        shown = [Message(role="system", content=_shortened(system, MAX_FIRST))] if system else []
        return Transcript(messages=(*shown, *_joined(entries)), cut=cut + max(len(system) - MAX_FIRST, 0))

    def _add_messages(self, messages: Sequence[Message]) -> None:
        self._end_message()
        for message in messages:
            if message.role == "system":
                if message.content not in self._system:
                    self._system.append(message.content)
            else:
                self._add_entry(message.role, message.content)

    def _prepend(self, earlier: Sequence[Message]) -> None:
        """Put messages before the run's own ones, although those come first in its stream."""
        own = [*([self._first] if self._first is not None else []), *self._entries]
        self._first, self._held = None, 0
        self._entries.clear()
        self._add_messages(earlier)
        for entry in own:
            self._add_entry(entry.role, entry.text)

    def _add_entry(self, role: Role, text: str) -> None:
        if not text.strip():
            return
        entry = _Entry(role, text)
        if self._first is None and role == "user":
            self._first = entry
            return
        self._entries.append(entry)
        self._held += len(text)
        while self._held > _HELD_CHARS and len(self._entries) > 1:
            gone = self._entries.popleft()
            self._held -= len(gone.text)
            self._dropped += len(gone.text)

    def _end_message(self, whole: str = "") -> None:
        text = whole or "".join(self._message)
        self._message, self._message_chars = [], 0
        self._add_entry("assistant", text)

    def _bound_message(self) -> None:
        if len(self._message) > 4096 or self._message_chars > 2 * _HELD_CHARS:
            text = "".join(self._message)
            kept = text[-_HELD_CHARS:]
            self._dropped += len(text) - len(kept)
            self._message, self._message_chars = [kept], len(kept)

    def _kept_entries(self, space: int) -> tuple[list[_Entry], int]:
        """The first entry and as many of the last ones as fit into `space` characters; the number of characters left
        out."""
        begin: list[_Entry] = []
        end: list[_Entry] = []
        cut = 0
        if self._first is not None:
            text = self._first.text
            limit = max(min(MAX_FIRST, space), space - self._held)
            cut = max(len(text) - limit, 0)
            begin = [_Entry("user", text if not cut else f"{text[:limit]}\n[… {cut} characters left out …]")]
            space -= min(len(text), limit)
        missing = self._dropped
        for entry in reversed(self._entries):
            kept = entry.text[-space:] if space > 0 else ""
            missing += len(entry.text) - len(kept)
            space -= len(kept)
            if kept:
                end.append(_Entry(entry.role, kept))
        end.reverse()
        gap = [_Entry("assistant", f"[… {missing} characters of the conversation left out here …]")] if missing else []
        return [*begin, *gap, *end], cut + missing


def _joined(entries: Iterable[_Entry]) -> Iterable[Message]:
    """Successive entries of one role as one message."""
    role: Role | None = None
    texts: list[str] = []
    for entry in entries:
        if entry.role != role and role is not None:
            yield Message(role=role, content="\n\n".join(texts))
            texts = []
        role = entry.role
        texts.append(entry.text.strip("\n"))
    if role is not None:
        yield Message(role=role, content="\n\n".join(texts))


def _note(event: Event) -> str:
    """An event that is not a message, as a line of the transcript; empty if the agent need not know of it."""
    match event:
        case e.ToolStarted(name=name, input=given):
            return f"[tool {name}: {_shortened(given, MAX_TOOL_INPUT)}]"
        case e.ToolEnded(output_ref=ref) if ref is not None:
            return f"[its result: {ref.size} bytes, not repeated here]"
        case e.ToolEnded(output=output, ok=ok):
            return f"[{'its result' if ok else 'it failed'}: {_shortened(output, MAX_TOOL_OUTPUT)}]"
        case e.HumanLoopRequested(prompt=prompt, options=options):
            choices = f" ({' / '.join(option.label for option in options)})" if options else ""
            return f"[asked the user: {prompt}{choices}]"
        case e.HumanLoopResolved(answer=answer):
            return f"[the user answered: {_shortened(answer, MAX_TOOL_INPUT)}]"
        case e.RunRetryScheduled(error=error) | e.RunAgentFinished(error=error) if error is not None:
            return f"[the attempt failed: {error.message}]"
        case e.RunCancelRequested():
            return "[the user canceled the run]"
        case _:
            return ""


def _shortened(value: Any, limit: int) -> str:
    text = value if isinstance(value, str) else "" if value is None else msgspec.json.encode(value).decode()
    return text if len(text) <= limit else f"{text[:limit]} [… {len(text) - limit} characters left out …]"

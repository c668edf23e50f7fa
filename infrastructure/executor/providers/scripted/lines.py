"""Lines by which a script reports events: `::fleetlog {json}` on its stdout.

    {"type": "todo.update", "todo": {"todoId", "content", "status", "order"}}
    {"type": "todo.snapshot", "todos": [...]}
    {"type": "tool.start", "toolId", "name", "input"}    {"type": "tool.end", "toolId", "output", "ok", "durationMs"}
    {"type": "question", "questionId", "prompt", "options", "defaultAnswer", "timeoutMs"}  (or "human_loop.requested")
    {"type": "message.stop"}    {"type": "reasoning.delta", "text"}
    {"type": "usage", "inputTokens", "outputTokens", "cachedInputTokens", "costUsd"}   added up over the run

Unknown and malformed lines become a `run.warning`.
"""

import codecs
from collections.abc import Iterator
from typing import Any

import msgspec

from domain.event import Event
from domain.run.events import (
    HumanLoopRequested,
    MessageStopped,
    ReasoningDelta,
    TodosReplaced,
    TodoUpdated,
    ToolEnded,
    ToolStarted,
)
from domain.run.values import Usage
from infrastructure.executor.providers.line_framing import MAX_LINE_BYTES, Line
from infrastructure.executor.providers.provider_warnings import warning
from infrastructure.executor.providers.scripted.deep_lines import decoded

PREFIX = b"::fleetlog "
_EVENTS: dict[str, type[Event]] = {
    "todo.update": TodoUpdated,
    "todo.snapshot": TodosReplaced,
    "tool.start": ToolStarted,
    "tool.end": ToolEnded,
    "message.stop": MessageStopped,
    "reasoning.delta": ReasoningDelta,
    "question": HumanLoopRequested,
    "human_loop.requested": HumanLoopRequested,
}
_QUOTED = 200


class Text(msgspec.Struct, frozen=True):
    """Ordinary output."""

    text: str


class OutputSplitter:
    """Splits chunks of output into ordinary text and `::fleetlog` lines (a `Line` is what follows that prefix). Text is
    passed on without waiting for the end of its line; at most MAX_LINE_BYTES are held."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = bytearray()
        self._at_line_start = True
        self._in_line = False
        self._cut = False

    def feed(self, chunk: bytes) -> Iterator[Text | Line]:
        """Add a chunk; yields text and complete lines, in order."""
        text = bytearray()
        at = 0
        while at < len(chunk):
            newline = chunk.find(b"\n", at)
            end = len(chunk) if newline == -1 else newline + 1
            piece = chunk[at:end]
            at = end
            for part in self._take(piece, ends_line=newline != -1):
                if isinstance(part, bytes):
                    text += part
                else:
                    if text and (decoded := self._decoder.decode(bytes(text))):
                        yield Text(decoded)
                    text.clear()
                    yield part
        if text and (decoded := self._decoder.decode(bytes(text))):
            yield Text(decoded)

    def finish(self) -> Iterator[Text | Line]:
        """What is held at the end of the output."""
        held, self._held = bytes(self._held), bytearray()
        if self._in_line:
            yield Line(held, self._cut)
        elif decoded := self._decoder.decode(held, final=True):
            yield Text(decoded)

    def _take(self, piece: bytes, *, ends_line: bool) -> Iterator[bytes | Line]:
        if self._in_line:
            yield from self._extend_line(piece, ends_line=ends_line)
        elif self._at_line_start:
            self._held += piece
            if self._held.startswith(PREFIX):
                line = bytes(self._held[len(PREFIX) :])
                self._held.clear()
                self._in_line, self._at_line_start = True, False
                yield from self._extend_line(line, ends_line=ends_line)
            elif not PREFIX.startswith(self._held):
                yield bytes(self._held)
                self._held.clear()
                self._at_line_start = ends_line
        else:
            yield piece
            self._at_line_start = ends_line

    def _extend_line(self, piece: bytes, *, ends_line: bool) -> Iterator[bytes | Line]:
        room = MAX_LINE_BYTES - len(self._held)
        self._held += piece[: max(room, 0)]
        self._cut = self._cut or len(piece) > room
        if ends_line:
            yield Line(bytes(self._held).rstrip(b"\r\n"), self._cut)
            self._held.clear()
            self._in_line, self._at_line_start, self._cut = False, True, False


def event_of(line: Line) -> Event | Usage:
    """The event or usage that a line reports; a `run.warning` for an unknown or malformed line."""
    if line.cut:
        return warning("line_too_long", f"a ::fleetlog line of more than {MAX_LINE_BYTES} bytes was dropped")
    try:
        fields: Any = decoded(line.content)
        if not isinstance(fields, dict) or not isinstance(fields.get("type"), str):
            return warning("malformed_line", f"a ::fleetlog line must be a JSON object with a type: {_quoted(line)}")
        kind = fields.pop("type")
        fields.pop("leaseGeneration", None)
        fields.pop("outputRef", None)
        if kind == "usage":
            return msgspec.convert(fields, Usage)
        if kind not in _EVENTS:
            return warning("unknown_line", f"a ::fleetlog line has the unknown type {kind[:_QUOTED]!r}")
        return msgspec.convert(_with_plain_options(fields), _EVENTS[kind])
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        return warning("malformed_line", f"{error} in the ::fleetlog line {_quoted(line)}")


def _with_plain_options(fields: dict[str, Any]) -> dict[str, Any]:
    options = fields.get("options")
    if isinstance(options, list):
        fields["options"] = [{"label": option} if isinstance(option, str) else option for option in options]
    return fields


def _quoted(line: Line) -> str:
    return repr(line.content[:_QUOTED].decode("utf-8", "replace"))

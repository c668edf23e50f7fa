"""Translates opencode's event stream to events of Fleetlog."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from domain.event import Event
from domain.run.events import MessageDelta, MessageStopped, ReasoningDelta
from domain.run.values import RunError, Usage
from infrastructure.executor.providers.opencode.errors import error_of, never_ending, retry_error
from infrastructure.executor.providers.opencode.questions import OpencodeQuestions
from infrastructure.executor.providers.provider_warnings import UnknownOutput, warning
from infrastructure.executor.providers.todo_lists import snapshot
from infrastructure.executor.providers.tool_calls import OpenToolCalls

_SILENT = frozenset({"server", "plugin", "catalog", "integration", "reference", "models-dev", "file", "lsp", "vcs",
                     "pty", "project", "installation", "mcp", "command", "tui", "worktree", "workspace",
                     "global"})  # fmt: skip
"""First parts of event types that are ignored."""
_SILENT_TYPES = frozenset({"session.created", "session.updated", "session.deleted", "session.diff", "session.idle",
                           "message.removed", "message.part.removed", "question.v2.asked", "question.v2.replied",
                           "question.v2.rejected", "permission.v2.asked", "permission.v2.replied"})  # fmt: skip
_SILENT_PARTS = frozenset({"step-start", "snapshot", "patch", "agent", "file", "retry", "compaction", "subtask"})
_MAX_FRUITLESS = 2
"""So many answers in a row without a finish reason, or so many context overflows, end the run: opencode would repeat
the request for ever, ten times a second."""


class OpencodeEvents:
    """State of one turn. Pass every event to `events_of`, in order; one that comes twice changes nothing. `session_id`
    must be set once the conversation is known: text of other conversations (sub-agents) is ignored, but their tool
    calls, questions and usage count.

    `turn_over`: the turn has ended. `fatal_error`: the turn must be aborted because of it. `abort_recorded`: opencode
    has recorded the abort."""

    def __init__(self, provider: str, credentials: Sequence[str], human_loop_timeout_ms: int, max_retries: int) -> None:
        self._provider, self._credentials = provider, credentials
        self._max_retries = max_retries
        self.questions = OpencodeQuestions(human_loop_timeout_ms)
        self._tools = OpenToolCalls()
        self._ended_tools: set[str] = set()
        self._steps: set[str] = set()
        self._with_tools: set[str] = set()
        self._answers: set[str] = set()
        self._summaries: set[str] = set()
        self._streamed: dict[str, tuple[str, int]] = {}
        self._with_gaps: set[str] = set()
        self._todos: Any = None
        self._unknown_output = UnknownOutput(provider)
        self._text_since_stop = False
        self._busy = False
        self._endless = self._overflows = 0
        self._usage = Usage(cached_input_tokens=0, cost_usd=0.0)
        self.session_id = ""
        self.stopping = self.turn_over = self.abort_recorded = False
        self.error: RunError | None = None
        self.fatal_error: RunError | None = None

    def events_of(self, raw: bytes) -> Iterator[Event]:
        """The events of an event of opencode; whatever it holds, this raises nothing."""
        try:
            event = msgspec.json.decode(raw)
            found = list(self._events(event["type"], event.get("properties") or {}, raw))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError, KeyError, AttributeError,
                ValueError):  # fmt: skip
            yield from self._unknown_output.warn_once("", raw)
            return
        yield from found

    def mark_gaps(self) -> None:
        """The stream was interrupted, so deltas may be missing: texts that have begun are completed from their final
        update instead."""
        self._with_gaps.update(self._streamed)

    def closing_events(self) -> Iterator[Event]:
        """Events that close what is open when opencode has exited."""
        yield from self._tools.end_all("ended with opencode")
        yield from self._stop()

    def usage(self) -> Usage:
        """Usage of the run. Input tokens include cached ones; the cost is None if opencode does not know the price."""
        if not self._usage.cost_usd:
            return msgspec.structs.replace(self._usage, cost_usd=None)
        return self._usage

    def _events(self, kind: str, properties: dict[str, Any], raw: bytes) -> Iterator[Event]:
        match kind:
            case "message.part.delta":
                yield from self._on_delta(properties)
            case "message.part.updated":
                yield from self._on_part(properties["part"], raw)
            case "message.updated":
                self._on_message(properties["info"])
            case "permission.asked" | "question.asked":
                yield from self.questions.asked(kind, properties)
            case "permission.replied" | "question.replied" | "question.rejected":
                yield from self.questions.settled(properties["requestID"])
            case "session.status" | "session.error" | "session.compacted" | "todo.updated":
                if properties.get("sessionID", self.session_id) == self.session_id:
                    yield from self._on_own_conversation(kind, properties)
            case _ if not _is_ignored(kind):
                yield from self._unknown_output.warn_once(kind, raw)

    def _on_own_conversation(self, kind: str, properties: dict[str, Any]) -> Iterator[Event]:
        """Events of the run's own conversation."""
        match kind:
            case "session.status":
                yield from self._on_status(properties["status"])
            case "session.error":
                self._on_error(properties.get("error") or {})
            case "session.compacted":
                text = "the conversation grew too long and was summarised by opencode"
                yield warning("conversation_compacted", text)
            case _ if properties["todos"] != self._todos:
                self._todos = properties["todos"]
                yield snapshot((todo["content"], todo["status"]) for todo in properties["todos"])

    def _on_message(self, info: dict[str, Any]) -> None:
        if info["role"] != "assistant":
            return
        self._answers.add(info["id"])
        self._busy = self._busy or info["sessionID"] == self.session_id
        if info.get("agent") == "compaction" or info.get("summary"):
            self._summaries.add(info["id"])
        error = info.get("error")
        if error and info["sessionID"] == self.session_id:
            self.abort_recorded = True
            if error.get("name") != "ContextOverflowError":
                self._on_error(error)

    def _on_part(self, part: dict[str, Any], raw: bytes) -> Iterator[Event]:
        if part["messageID"] not in self._answers:
            return
        kind = part["type"]
        if kind in {"text", "reasoning"}:
            if part["sessionID"] == self.session_id and part["messageID"] not in self._summaries:
                yield from self._text(part, kind)
        elif kind == "tool":
            yield from self._tool(part)
        elif kind == "step-finish":
            yield from self._step_ended(part)
        elif kind not in _SILENT_PARTS:
            yield from self._unknown_output.warn_once(f"part {kind}", raw)

    def _text(self, part: dict[str, Any], kind: str) -> Iterator[Event]:
        _, streamed = self._streamed.setdefault(part["id"], (kind, 0))
        rest = part["text"][streamed:]
        if rest:
            yield from self._piece(part["id"], rest)

    def _on_delta(self, properties: dict[str, Any]) -> Iterator[Event]:
        part_id = properties["partID"]
        if properties["field"] == "text" and part_id in self._streamed and part_id not in self._with_gaps:
            yield from self._piece(part_id, properties["delta"])

    def _piece(self, part_id: str, text: str) -> Iterator[Event]:
        kind, streamed = self._streamed[part_id]
        self._streamed[part_id] = (kind, streamed + len(text))
        if kind == "reasoning":
            yield ReasoningDelta(text=text)
        else:
            self._text_since_stop = True
            yield MessageDelta(text=text)

    def _tool(self, part: dict[str, Any]) -> Iterator[Event]:
        tool_id, state = part["id"], part["state"]
        self._with_tools.add(part["messageID"])
        if state["status"] == "pending" or tool_id in self._ended_tools:
            return
        if not self._tools.is_open(tool_id):
            yield self._tools.start(tool_id, part["tool"], state["input"])
        if state["status"] in {"completed", "error"}:
            self._ended_tools.add(tool_id)
            failed = state["status"] == "error" or bool((state.get("metadata") or {}).get("exit"))
            output = state["error"] if state["status"] == "error" else state["output"]
            # opencode reports an aborted tool as completed.
            yield self._tools.end(tool_id, output, ok=not failed and not self.stopping)

    def _step_ended(self, part: dict[str, Any]) -> Iterator[Event]:
        if part["id"] in self._steps:
            return
        self._steps.add(part["id"])
        tokens = part["tokens"]
        cache = tokens["cache"]
        self._usage += Usage(
            input_tokens=int(tokens["input"] + cache["read"] + cache["write"]),
            output_tokens=int(tokens["output"] + tokens["reasoning"]),
            cached_input_tokens=int(cache["read"]),
            cost_usd=part["cost"],
        )
        message_id = part["messageID"]
        if part["reason"] == "unknown" and message_id not in self._with_tools:
            self._endless += 1
            if self._endless >= _MAX_FRUITLESS:
                spoke = self._text_since_stop
                self.fatal_error = never_ending(self._provider, self._credentials, spoke=spoke)
        elif message_id not in self._summaries:
            self._endless = self._overflows = 0
            self.error = None
        if part["sessionID"] == self.session_id and part["reason"] != "unknown":
            yield from self._stop()

    def _stop(self) -> Iterator[Event]:
        if self._text_since_stop:
            self._text_since_stop = False
            yield MessageStopped()

    def _on_status(self, status: dict[str, Any]) -> Iterator[Event]:
        match status["type"]:
            case "busy":
                self._busy = True
            case "idle":
                self.turn_over = self._busy
            case "retry" if status["attempt"] > self._max_retries:
                self.fatal_error = retry_error(self._provider, self._credentials, status["message"])
            case "retry":
                tries = f"try {status['attempt']} of {self._max_retries} follows"
                yield warning("model_retry", f"the model's answer failed: {status['message']}; {tries}")

    def _on_error(self, error: dict[str, Any]) -> None:
        found = error_of(self._provider, self._credentials, error)
        if error.get("name") == "ContextOverflowError":
            self._overflows += 1
            if self._overflows >= _MAX_FRUITLESS:
                self.fatal_error = found
        self.error = self.error or found
        # After an error before the turn has begun, nothing else comes.
        self.turn_over = self.turn_over or not self._busy


def _is_ignored(kind: str) -> bool:
    first = kind.partition(".")[0]
    return kind in _SILENT_TYPES or first in _SILENT or kind.startswith("session.next.")

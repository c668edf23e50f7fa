"""What opencode's event stream says, event by event, as unified events."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from domain.event import Event
from domain.run.events import MessageDelta, MessageStopped, ReasoningDelta
from domain.run.values import RunError, Usage
from infrastructure.providers.opencode_errors import error_of, never_ending, retry_error
from infrastructure.providers.opencode_questions import OpencodeQuestions
from infrastructure.providers.provider_warnings import NotUnderstood, warning
from infrastructure.providers.todo_lists import snapshot
from infrastructure.providers.tool_calls import ToolCalls

_SILENT = frozenset({"server", "plugin", "catalog", "integration", "reference", "models-dev", "file", "lsp", "vcs",
                     "pty", "project", "installation", "mcp", "command", "tui", "worktree", "workspace",
                     "global"})  # fmt: skip
"""First words of events that say nothing to whoever follows a run."""
_SILENT_TYPES = frozenset({"session.created", "session.updated", "session.deleted", "session.diff", "session.idle",
                           "message.removed", "message.part.removed", "question.v2.asked", "question.v2.replied",
                           "question.v2.rejected", "permission.v2.asked", "permission.v2.replied"})  # fmt: skip
_SILENT_PARTS = frozenset({"step-start", "snapshot", "patch", "agent", "file", "retry", "compaction", "subtask"})
_FRUITLESS = 2
"""How many answers in a row without an end, or refusals of an overlong conversation, end the run: opencode would go
on for ever, ten times a second."""


class OpencodeEvents:
    """Feed it every event, in order; one that comes twice changes nothing. `session_id` is to be set once the
    conversation is known: what others (those of sub-agents) say is theirs, what they do, ask and cost counts.

    `turn_over`: the turn that was prompted has ended. `hopeless`: why it should be ended. `settled`: it has recorded
    that it was aborted."""

    def __init__(self, provider: str, credentials: Sequence[str], human_loop_timeout_ms: int, max_retries: int) -> None:
        self._provider, self._credentials = provider, credentials
        self._max_retries = max_retries
        self.people = OpencodeQuestions(human_loop_timeout_ms)
        self._tools = ToolCalls()
        self._ended_tools: set[str] = set()
        self._steps: set[str] = set()
        self._with_tools: set[str] = set()
        self._answers: set[str] = set()
        self._summaries: set[str] = set()
        self._streamed: dict[str, tuple[str, int]] = {}
        self._with_gaps: set[str] = set()
        self._todos: Any = None
        self._not_understood = NotUnderstood(provider)
        self._text_since_stop = False
        self._busy = False
        self._endless = self._overflows = 0
        self._usage = Usage(cached_input_tokens=0, cost_usd=0.0)
        self.session_id = ""
        self.stopping = self.turn_over = self.settled = False
        self.error: RunError | None = None
        self.hopeless: RunError | None = None

    def events_of(self, said: bytes) -> Iterator[Event]:
        """What an event brings; nothing in it raises."""
        try:
            event = msgspec.json.decode(said)
            found = list(self._events(event["type"], event.get("properties") or {}, said))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError, KeyError, AttributeError,
                ValueError):  # fmt: skip
            yield from self._not_understood.once("", said)
            return
        yield from found

    def missed_some(self) -> None:
        """Pieces may have been lost: of texts that have begun, the rest comes with their end."""
        self._with_gaps.update(self._streamed)

    def left_over(self) -> Iterator[Event]:
        """What its end leaves open."""
        yield from self._tools.end_all("ended with opencode")
        yield from self._stop()

    def usage(self) -> Usage:
        """Input tokens with those that the cache served; no cost where opencode does not know the model's price."""
        if not self._usage.cost_usd:
            return msgspec.structs.replace(self._usage, cost_usd=None)
        return self._usage

    def _events(self, kind: str, told: dict[str, Any], said: bytes) -> Iterator[Event]:
        match kind:
            case "message.part.delta":
                yield from self._delta(told)
            case "message.part.updated":
                yield from self._part(told["part"], said)
            case "message.updated":
                self._message(told["info"])
            case "permission.asked" | "question.asked":
                yield from self.people.asked(kind, told)
            case "permission.replied" | "question.replied" | "question.rejected":
                yield from self.people.settled(told["requestID"])
            case "session.status" | "session.error" | "session.compacted" | "todo.updated":
                if told.get("sessionID", self.session_id) == self.session_id:
                    yield from self._own(kind, told)
            case _ if not _says_nothing(kind):
                yield from self._not_understood.once(kind, said)

    def _own(self, kind: str, told: dict[str, Any]) -> Iterator[Event]:
        """What is of the run's own conversation."""
        match kind:
            case "session.status":
                yield from self._status(told["status"])
            case "session.error":
                self._failed(told.get("error") or {})
            case "session.compacted":
                text = "the conversation grew too long and was summarised by opencode"
                yield warning("conversation_compacted", text)
            case _ if told["todos"] != self._todos:
                self._todos = told["todos"]
                yield snapshot((todo["content"], todo["status"]) for todo in told["todos"])

    def _message(self, info: dict[str, Any]) -> None:
        if info["role"] != "assistant":
            return
        self._answers.add(info["id"])
        self._busy = self._busy or info["sessionID"] == self.session_id
        if info.get("agent") == "compaction" or info.get("summary"):
            self._summaries.add(info["id"])
        error = info.get("error")
        if error and info["sessionID"] == self.session_id:
            self.settled = True
            if error.get("name") != "ContextOverflowError":
                self._failed(error)

    def _part(self, part: dict[str, Any], said: bytes) -> Iterator[Event]:
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
            yield from self._not_understood.once(f"part {kind}", said)

    def _text(self, part: dict[str, Any], kind: str) -> Iterator[Event]:
        _, streamed = self._streamed.setdefault(part["id"], (kind, 0))
        rest = part["text"][streamed:]
        if rest:
            yield from self._piece(part["id"], rest)

    def _delta(self, told: dict[str, Any]) -> Iterator[Event]:
        part_id = told["partID"]
        if told["field"] == "text" and part_id in self._streamed and part_id not in self._with_gaps:
            yield from self._piece(part_id, told["delta"])

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
            # A tool that was aborted says that it has completed.
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
            if self._endless >= _FRUITLESS:
                spoke = self._text_since_stop
                self.hopeless = never_ending(self._provider, self._credentials, spoke=spoke)
        elif message_id not in self._summaries:
            self._endless = self._overflows = 0
            self.error = None
        if part["sessionID"] == self.session_id and part["reason"] != "unknown":
            yield from self._stop()

    def _stop(self) -> Iterator[Event]:
        if self._text_since_stop:
            self._text_since_stop = False
            yield MessageStopped()

    def _status(self, status: dict[str, Any]) -> Iterator[Event]:
        match status["type"]:
            case "busy":
                self._busy = True
            case "idle":
                self.turn_over = self._busy
            case "retry" if status["attempt"] > self._max_retries:
                self.hopeless = retry_error(self._provider, self._credentials, status["message"])
            case "retry":
                tries = f"try {status['attempt']} of {self._max_retries} follows"
                yield warning("model_retry", f"the model's answer failed: {status['message']}; {tries}")

    def _failed(self, error: dict[str, Any]) -> None:
        found = error_of(self._provider, self._credentials, error)
        if error.get("name") == "ContextOverflowError":
            self._overflows += 1
            if self._overflows >= _FRUITLESS:
                self.hopeless = found
        self.error = self.error or found
        # An error before the turn has begun is all that comes.
        self.turn_over = self.turn_over or not self._busy


def _says_nothing(kind: str) -> bool:
    first = kind.partition(".")[0]
    return kind in _SILENT_TYPES or first in _SILENT or kind.startswith("session.next.")

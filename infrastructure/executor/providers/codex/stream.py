"""Translates the messages of `codex app-server` to events, and collects the messages to send back."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from domain.event import Event
from domain.run.events import MessageDelta, MessageStopped, ReasoningDelta, ToolEnded
from domain.run.values import RunError, Usage
from infrastructure.executor.providers.codex.errors import turn_error
from infrastructure.executor.providers.codex.items import NON_TOOL_ITEMS, tool_call, tool_result
from infrastructure.executor.providers.codex.questions import CodexQuestions
from infrastructure.executor.providers.line_framing import Line
from infrastructure.executor.providers.provider_warnings import UnknownOutput, warning
from infrastructure.executor.providers.todo_lists import snapshot
from infrastructure.executor.providers.tool_calls import OpenToolCalls

_SILENT = frozenset({
    "turn/diff/updated", "turn/moderationMetadata", "item/commandExecution/outputDelta",
    "item/commandExecution/terminalInteraction", "item/fileChange/outputDelta", "item/fileChange/patchUpdated",
    "item/mcpToolCall/progress", "item/autoApprovalReview/started", "item/autoApprovalReview/completed",
})  # fmt: skip
_SILENT_FAMILIES = (
    "thread/", "account/", "remoteControl/", "skills/", "mcpServer/", "app/", "hook/", "model/", "modelProvider/",
    "rawResponse", "project/", "fs/", "process/", "command/exec/", "codex/event/",
)  # fmt: skip
"""Notifications that are ignored."""
_IGNORED_WARNING = "bubblewrap"
"""Codex warns of a missing sandbox at every start; the session worker is the boundary."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a turn; `status` is `completed`, `interrupted` or `failed`."""

    status: str
    error: dict[str, Any] | None = None


class CodexStream:
    """State of one turn. Pass every line to `events_of`, in order, and send what is in `outbox` after each.

    `responses`: Codex's responses by the method of the request. `turn` is None until the turn has ended.
    `unreachable_error`: set when the model can't be reached after `max_retries`."""

    def __init__(self, provider: str, credentials: Sequence[str], human_loop_timeout_ms: int, max_retries: int) -> None:
        self._provider, self._credentials, self._max_retries = provider, credentials, max_retries
        self.outbox: list[dict[str, Any]] = []
        self.responses: dict[str, dict[str, Any]] = {}
        self.thread_id = ""
        self.turn_id = ""
        self.turn: Turn | None = None
        self.unreachable_error: dict[str, Any] | None = None
        self._unknown_output = UnknownOutput(provider)
        self.questions = CodexQuestions(human_loop_timeout_ms, self.outbox, self._unknown_output)
        self._tools = OpenToolCalls()
        self._items: dict[str, dict[str, Any]] = {}
        self._streamed: set[str] = set()
        self._ended_items: set[str] = set()
        self._text_since_stop = False
        self._failures = 0
        self._warned: set[str] = set()
        self._tokens: dict[str, tuple[Usage, Usage]] = {}

    def events_of(self, line: Line) -> Iterator[Event]:
        """The events of a line; whatever the line holds, this raises nothing."""
        if not line.content.strip():
            return
        try:
            said = msgspec.json.decode(line.content)
            if line.cut or not isinstance(said, dict):
                raise TypeError("not an object")  # noqa: TRY301  becomes a warning below, like all malformed lines
            events = list(self._events(said))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError, KeyError, AttributeError,
                ValueError):  # fmt: skip
            yield from self._unknown_output.warn_once("", line.content)
            return
        yield from events

    def closing_events(self) -> Iterator[Event]:
        """Events that close what is open when Codex has exited."""
        yield from self._tools.end_all("ended with Codex")
        yield from self._stop()

    def usage(self) -> Usage:
        """Usage of this run: of its threads, since the run began."""
        used = Usage(cached_input_tokens=0) if self._tokens else Usage()
        for before, now in self._tokens.values():
            used = used + Usage(
                input_tokens=now.input_tokens - before.input_tokens,
                output_tokens=now.output_tokens - before.output_tokens,
                cached_input_tokens=(now.cached_input_tokens or 0) - (before.cached_input_tokens or 0),
            )
        return used

    def error(self) -> RunError | None:
        """The error of the turn; None when Codex reported none."""
        error = self.unreachable_error or (self.turn.error if self.turn is not None else None)
        return None if error is None else turn_error(self._provider, self._credentials, error)

    def _events(self, said: dict[str, Any]) -> Iterator[Event]:
        method = said.get("method")
        if method is None:
            self.responses[str(said["id"])] = said
        elif "id" in said:
            yield from self._on_request(said, said.get("params") or {})
        else:
            yield from self._on_notification(method, said.get("params") or {})

    def _on_request(self, request: dict[str, Any], params: dict[str, Any]) -> Iterator[Event]:
        item_id = str(params.get("itemId"))
        if params.get("command") and not self._tools.is_open(item_id):
            # Older versions report the command as an item only when it has ended.
            yield from self._item_started({"type": "commandExecution", "id": item_id, **params})
        yield from self.questions.requested(request, self._items.get(item_id))

    def _on_notification(self, method: str, params: dict[str, Any]) -> Iterator[Event]:  # noqa: C901, PLR0912  a table of contents
        ours = params.get("threadId") in {self.thread_id, None}
        match method:
            case "item/agentMessage/delta" | "item/plan/delta":
                if ours:
                    yield self._text(params["itemId"], params["delta"])
            case "item/reasoning/summaryTextDelta" | "item/reasoning/textDelta":
                if ours:
                    yield self._reasoning(params["itemId"], params["delta"])
            case "item/reasoning/summaryPartAdded":
                if ours and params.get("summaryIndex"):
                    yield self._reasoning(params["itemId"], "\n\n")
            case "item/started":
                yield from self._item_started(params["item"])
            case "item/completed":
                yield from self._item_completed(params["item"], ours=ours)
            case "turn/started":
                if ours:
                    self.turn_id = params["turn"]["id"]
            case "turn/plan/updated":
                if ours:
                    yield snapshot((step["step"], step["status"]) for step in params["plan"])
            case "turn/completed":
                if ours:
                    self.turn = msgspec.convert(params["turn"], Turn)
            case "thread/tokenUsage/updated":
                self._count(params)
            case "serverRequest/resolved":
                yield from self.questions.resolved(params["requestId"])
            case "error":
                yield from self._on_error(params)
            case "warning" | "guardianWarning" | "configWarning" | "deprecationNotice":
                yield from self._warning(params.get("message") or params.get("summary") or "")
            case _:
                if method not in _SILENT and not method.startswith(_SILENT_FAMILIES):
                    yield from self._unknown_output.warn_once(method, msgspec.json.encode(params))

    def _text(self, item_id: str, text: str) -> Event:
        self._failures = 0
        self._streamed.add(item_id)
        self._text_since_stop = True
        return MessageDelta(text=text)

    def _reasoning(self, item_id: str, text: str) -> Event:
        self._failures = 0
        self._streamed.add(item_id)
        return ReasoningDelta(text=text)

    def _stop(self) -> Iterator[Event]:
        if self._text_since_stop:
            self._text_since_stop = False
            yield MessageStopped()

    def _item_started(self, item: dict[str, Any]) -> Iterator[Event]:
        if item["type"] in NON_TOOL_ITEMS or self._tools.is_open(item["id"]):
            return
        call = tool_call(item)
        if call is None:
            yield from self._unknown_output.warn_once(f"item {item['type']}", msgspec.json.encode(item))
            return
        self._failures = 0
        self._items[item["id"]] = item
        yield self._tools.start(item["id"], call.name, call.input)

    def _item_completed(self, item: dict[str, Any], *, ours: bool) -> Iterator[Event]:
        self._failures = 0
        kind, item_id = item["type"], item["id"]
        if kind in {"agentMessage", "plan"}:
            if ours:
                if item_id not in self._streamed and item.get("text"):
                    yield self._text(item_id, item["text"])
                yield from self._stop()
        elif kind == "reasoning":
            if ours and item_id not in self._streamed and item.get("summary"):
                yield self._reasoning(item_id, "\n\n".join(item["summary"]))
        elif kind == "contextCompaction":
            yield warning("conversation_compacted", "the conversation grew too long and was summarised by Codex")
        elif kind not in NON_TOOL_ITEMS and item_id not in self._ended_items:
            yield from self._item_started(item)
            if self._tools.is_open(item_id):
                yield self._tool_ended(item)

    def _tool_ended(self, item: dict[str, Any]) -> ToolEnded:
        self._items.pop(item["id"], None)
        self._ended_items.add(item["id"])
        result = tool_result(item)
        ended = self._tools.end(item["id"], result.output, ok=result.ok)
        return ended if result.duration_ms is None else msgspec.structs.replace(ended, duration_ms=result.duration_ms)

    def _on_error(self, params: dict[str, Any]) -> Iterator[Event]:
        """A failed request that Codex repeats. The failure that it does not repeat comes with the end of the turn."""
        error = params["error"]
        if not params.get("willRetry"):
            return
        yield from self._stop()  # the repeated request streams its text as a new message
        self._failures += 1
        said = f"{error['message']}: {error.get('additionalDetails') or ''}".rstrip(": ")
        if self._failures <= self._max_retries:
            yield warning("model_retry", f"the model's answer failed: {said}")
        elif self.unreachable_error is None and params.get("threadId") == self.thread_id:
            # Codex ignores its limit and retries for ever when it can't connect: interrupt the turn.
            self.unreachable_error = error
            self.outbox.append(self.interrupt())

    def interrupt(self) -> dict[str, Any]:
        """The request that ends the turn."""
        params = {"threadId": self.thread_id, "turnId": self.turn_id}
        return {"id": "interrupt", "method": "turn/interrupt", "params": params}

    def _warning(self, message: str) -> Iterator[Event]:
        if message and _IGNORED_WARNING not in message and message not in self._warned:
            self._warned.add(message)
            yield warning("provider_warning", f"Codex warns: {message}")

    def _count(self, params: Mapping[str, Any]) -> None:
        thread, usage = params["threadId"], params["tokenUsage"]
        total, last = _tokens(usage["total"]), _tokens(usage["last"])
        if not self.turn_id or (thread == self.thread_id and params.get("turnId") != self.turn_id):
            before = total  # used by earlier turns of a resumed conversation
        elif thread in self._tokens:
            before = self._tokens[thread][0]
        else:
            before = Usage(
                input_tokens=total.input_tokens - last.input_tokens,
                output_tokens=total.output_tokens - last.output_tokens,
                cached_input_tokens=(total.cached_input_tokens or 0) - (last.cached_input_tokens or 0),
            )
        self._tokens[thread] = (before, total)


def _tokens(counted: Mapping[str, Any]) -> Usage:
    return Usage(
        input_tokens=counted["inputTokens"],
        output_tokens=counted["outputTokens"],
        cached_input_tokens=counted.get("cachedInputTokens") or 0,
    )

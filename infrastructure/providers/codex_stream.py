"""What `codex app-server` says, line by line, as events; and what it is to be told."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from domain.event import Event
from domain.run.events import MessageDelta, MessageStopped, ReasoningDelta, ToolEnded
from domain.run.values import RunError, Usage
from infrastructure.providers.codex_errors import turn_error
from infrastructure.providers.codex_items import NO_TOOLS, called, returned
from infrastructure.providers.codex_questions import CodexQuestions
from infrastructure.providers.line_framing import Line
from infrastructure.providers.provider_warnings import NotUnderstood, warning
from infrastructure.providers.todo_lists import snapshot
from infrastructure.providers.tool_calls import ToolCalls

_SILENT = frozenset({
    "turn/diff/updated", "turn/moderationMetadata", "item/commandExecution/outputDelta",
    "item/commandExecution/terminalInteraction", "item/fileChange/outputDelta", "item/fileChange/patchUpdated",
    "item/mcpToolCall/progress", "item/autoApprovalReview/started", "item/autoApprovalReview/completed",
})  # fmt: skip
_SILENT_FAMILIES = (
    "thread/", "account/", "remoteControl/", "skills/", "mcpServer/", "app/", "hook/", "model/", "modelProvider/",
    "rawResponse", "project/", "fs/", "process/", "command/exec/", "codex/event/",
)  # fmt: skip
"""Notifications that say nothing to whoever follows a run."""
_OF_NO_USE_HERE = "bubblewrap"
"""Codex warns of a missing sandbox at every start; the worker is the boundary."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a turn; `status` is `completed`, `interrupted` or `failed`."""

    status: str
    error: dict[str, Any] | None = None


class CodexStream:
    """Feed it every line, in order; send what is in `outbox` after each."""

    def __init__(self, provider: str, credentials: Sequence[str], human_loop_timeout_ms: int, max_retries: int) -> None:
        self._provider, self._credentials, self._max_retries = provider, credentials, max_retries
        self.outbox: list[dict[str, Any]] = []
        self.responses: dict[str, dict[str, Any]] = {}
        self.thread_id = ""
        self.turn_id = ""
        self.turn: Turn | None = None
        self.given_up: dict[str, Any] | None = None
        self._not_understood = NotUnderstood(provider)
        self.questions = CodexQuestions(human_loop_timeout_ms, self.outbox, self._not_understood)
        self._tools = ToolCalls()
        self._items: dict[str, dict[str, Any]] = {}
        self._streamed: set[str] = set()
        self._ended_items: set[str] = set()
        self._text_since_stop = False
        self._failures = 0
        self._warned: set[str] = set()
        self._tokens: dict[str, tuple[Usage, Usage]] = {}

    def events_of(self, line: Line) -> Iterator[Event]:
        """What a line brings; nothing in it raises."""
        if not line.content.strip():
            return
        try:
            said = msgspec.json.decode(line.content)
            if line.cut or not isinstance(said, dict):
                raise TypeError("not an object")  # noqa: TRY301  told below like all that makes no sense
            events = list(self._events(said))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError, KeyError, AttributeError,
                ValueError):  # fmt: skip
            yield from self._not_understood.once("", line.content)
            return
        yield from events

    def left_over(self) -> Iterator[Event]:
        """What its end leaves open."""
        yield from self._tools.end_all("ended with Codex")
        yield from self._stop()

    def usage(self) -> Usage:
        """Of this run: what its threads have used since it began."""
        used = Usage(cached_input_tokens=0) if self._tokens else Usage()
        for before, now in self._tokens.values():
            used = used + Usage(
                input_tokens=now.input_tokens - before.input_tokens,
                output_tokens=now.output_tokens - before.output_tokens,
                cached_input_tokens=(now.cached_input_tokens or 0) - (before.cached_input_tokens or 0),
            )
        return used

    def error(self) -> RunError | None:
        """Why it failed, by its own words; None when it said nothing."""
        error = self.given_up or (self.turn.error if self.turn is not None else None)
        return None if error is None else turn_error(self._provider, self._credentials, error)

    def _events(self, said: dict[str, Any]) -> Iterator[Event]:
        method = said.get("method")
        if method is None:
            self.responses[str(said["id"])] = said
        elif "id" in said:
            yield from self._asked(said, said.get("params") or {})
        else:
            yield from self._notified(method, said.get("params") or {})

    def _asked(self, request: dict[str, Any], params: dict[str, Any]) -> Iterator[Event]:
        item_id = str(params.get("itemId"))
        if params.get("command") and not self._tools.is_open(item_id):
            # Older versions tell of the command only when it is done.
            yield from self._begun({"type": "commandExecution", "id": item_id, **params})
        yield from self.questions.requested(request, self._items.get(item_id))

    def _notified(self, method: str, params: dict[str, Any]) -> Iterator[Event]:  # noqa: C901, PLR0912  a table of contents
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
                yield from self._begun(params["item"])
            case "item/completed":
                yield from self._completed(params["item"], ours=ours)
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
                yield from self._failed(params)
            case "warning" | "guardianWarning" | "configWarning" | "deprecationNotice":
                yield from self._warning(params.get("message") or params.get("summary") or "")
            case _:
                if method not in _SILENT and not method.startswith(_SILENT_FAMILIES):
                    yield from self._not_understood.once(method, msgspec.json.encode(params))

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

    def _begun(self, item: dict[str, Any]) -> Iterator[Event]:
        if item["type"] in NO_TOOLS or self._tools.is_open(item["id"]):
            return
        call = called(item)
        if call is None:
            yield from self._not_understood.once(f"item {item['type']}", msgspec.json.encode(item))
            return
        self._failures = 0
        self._items[item["id"]] = item
        yield self._tools.start(item["id"], call.name, call.input)

    def _completed(self, item: dict[str, Any], *, ours: bool) -> Iterator[Event]:
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
        elif kind not in NO_TOOLS and item_id not in self._ended_items:
            yield from self._begun(item)
            if self._tools.is_open(item_id):
                yield self._ended(item)

    def _ended(self, item: dict[str, Any]) -> ToolEnded:
        self._items.pop(item["id"], None)
        self._ended_items.add(item["id"])
        result = returned(item)
        ended = self._tools.end(item["id"], result.output, ok=result.ok)
        return ended if result.duration_ms is None else msgspec.structs.replace(ended, duration_ms=result.duration_ms)

    def _failed(self, params: dict[str, Any]) -> Iterator[Event]:
        """A failure that Codex repeats the request for; the last one comes with the turn's end."""
        error = params["error"]
        if not params.get("willRetry"):
            return
        yield from self._stop()  # what it said so far is said again, or goes on, in a new message
        self._failures += 1
        said = f"{error['message']}: {error.get('additionalDetails') or ''}".rstrip(": ")
        if self._failures <= self._max_retries:
            yield warning("model_retry", f"the model's answer failed: {said}")
        elif self.given_up is None and params.get("threadId") == self.thread_id:
            # An endpoint that nobody listens at is tried for ever, whatever its limit.
            self.given_up = error
            self.outbox.append(self.interrupt())

    def interrupt(self) -> dict[str, Any]:
        """The request that ends the turn."""
        params = {"threadId": self.thread_id, "turnId": self.turn_id}
        return {"id": "interrupt", "method": "turn/interrupt", "params": params}

    def _warning(self, message: str) -> Iterator[Event]:
        if message and _OF_NO_USE_HERE not in message and message not in self._warned:
            self._warned.add(message)
            yield warning("provider_warning", f"Codex warns: {message}")

    def _count(self, params: Mapping[str, Any]) -> None:
        thread, usage = params["threadId"], params["tokenUsage"]
        total, last = _tokens(usage["total"]), _tokens(usage["last"])
        if not self.turn_id or (thread == self.thread_id and params.get("turnId") != self.turn_id):
            before = total  # of the conversation that is resumed
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

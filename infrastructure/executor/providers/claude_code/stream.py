"""Translates Claude Code's output lines to events, and people's answers to its control responses."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import msgspec

from domain.event import Event
from domain.run.events import (
    HumanLoopCanceled,
    HumanLoopRequested,
    MessageDelta,
    MessageStopped,
    ReasoningDelta,
    RunWarning,
)
from domain.run.values import Option, RunError, Usage
from infrastructure.executor.providers.contract import ReplyNotDelivered
from infrastructure.executor.providers.human_answers import PERMISSION_OPTIONS, QuestionSet, permission_answer
from infrastructure.executor.providers.line_framing import Line
from infrastructure.executor.providers.model_errors import model_error
from infrastructure.executor.providers.provider_warnings import UnknownOutput, warning
from infrastructure.executor.providers.todo_lists import snapshot
from infrastructure.executor.providers.tool_calls import OpenToolCalls

_SILENT = frozenset({"keep_alive", "command_lifecycle", "rate_limit_event", "control_response", "tool_progress",
                     "tool_use_summary", "auth_status", "prompt_suggestion", "streamlined_text"})  # fmt: skip
"""Line types that are ignored, as are all `system` lines but those that are handled below."""
_LIMITS = {"error_max_turns": "maxTurns", "error_max_budget_usd": "maxBudgetUsd"}


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The last line of a turn. `usage` and `model_usage_since_last_result` count this turn only; the line's totals
    (`modelUsage`, `total_cost_usd`) would include earlier turns of a resumed conversation."""

    is_error: bool = False
    subtype: str = ""
    result: str = ""
    terminal_reason: str = ""
    api_error_status: int | None = None
    errors: tuple[str, ...] = ()
    usage: dict[str, Any] = {}
    model_usage_since_last_result: dict[str, dict[str, Any]] = {}


class _OpenRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A control request that waits for an answer. `questions` is None for a permission."""

    request_id: str
    request: dict[str, Any]
    questions: QuestionSet | None = None


class ClaudeStream:
    """State of one conversation turn. Pass every line to `events_of`, in order."""

    def __init__(self, provider: str, credentials: Sequence[str], human_loop_timeout_ms: int) -> None:
        self._provider, self._credentials, self._timeout_ms = provider, credentials, human_loop_timeout_ms
        self._tools = OpenToolCalls()
        self._asked: dict[str, _OpenRequest] = {}
        self._unknown_output = UnknownOutput(provider)
        self._streamed_message = ""
        self._text_since_stop = False
        self._api_error: tuple[str, int | None] | None = None
        self._streamed_usage = Usage()
        self._settled_usage: Usage | None = None
        self.session_id = ""
        self.result: Result | None = None

    def events_of(self, line: Line) -> Iterator[Event]:
        """The events of a line; whatever the line holds, this raises nothing."""
        if not line.content.strip():
            return
        try:
            said = msgspec.json.decode(line.content)
            if line.cut or not isinstance(said, dict):
                raise TypeError("not an object")  # noqa: TRY301  becomes a warning below, like all malformed lines
            events = list(self._events(said, line.original or line.content))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError, KeyError, AttributeError,
                ValueError):  # fmt: skip
            yield from self._unknown_output.warn_once("", line.content)
            return
        yield from events

    def answer(self, question_id: str, answer: Any) -> dict[str, Any] | None:
        """The control response to send; None while other questions of the same request are open. Raises
        ReplyNotDelivered."""
        asked = self._asked.get(question_id)
        if asked is None:
            raise ReplyNotDelivered("Claude Code does not wait for it any more")
        if asked.questions is None:
            response = _permission_response(asked.request, answer)
        else:
            answers = asked.questions.answer(question_id, answer)
            if answers is None:
                return None
            texts = [question["question"] for question in asked.request["input"]["questions"]]
            labels = {text: ", ".join(each) for text, each in zip(texts, answers, strict=True)}
            response = {"behavior": "allow", "updatedInput": {**asked.request["input"], "answers": labels}}
        self._forget(asked.request_id)
        body = {"subtype": "success", "request_id": asked.request_id, "response": response}
        return {"type": "control_response", "response": body}

    def closing_events(self) -> Iterator[Event]:
        """Events that close what is open when Claude Code has exited."""
        yield from self._tools.end_all("ended with Claude Code")
        if self._text_since_stop:
            yield self._stop()

    def usage(self) -> Usage:
        """Usage of this run: of its results, or of the streamed messages if there is no result."""
        return self._streamed_usage if self._settled_usage is None else self._settled_usage

    def error(self) -> RunError | None:
        """The error of the result; None when there is no result."""
        result = self.result
        if result is None:
            return None
        if result.subtype in _LIMITS:
            message = (
                f"the run reached its limit providerOptions.{_LIMITS[result.subtype]}: raise it, or resume the run"
            )
            return RunError(error_class="bad_input", message=message)
        said = result.result or "; ".join(result.errors) or result.subtype
        if self._api_error is not None:
            said, status = self._api_error
            return model_error(self._provider, self._credentials, said, status or result.api_error_status)
        if "No conversation found" in said:
            message = f"{said}: start the run without resumeSessionId, or in the session in which it was made"
            return RunError(error_class="bad_input", message=message)
        return model_error(self._provider, self._credentials, said, result.api_error_status)

    def _events(self, said: dict[str, Any], original: bytes) -> Iterator[Event]:
        kind = said.get("type")
        self.session_id = said.get("session_id") or self.session_id
        if kind == "stream_event":
            if said.get("parent_tool_use_id") is None:
                yield from self._streamed(said["event"])
        elif kind == "assistant":
            yield from self._assistant(said)
        elif kind == "user":
            yield from self._tool_results(said["message"]["content"])
        elif kind == "system":
            yield from self._system(said)
        elif kind == "control_request":
            yield from self._on_control_request(said["request_id"], said["request"], original)
        elif kind == "control_cancel_request":
            yield from self._canceled(said["request_id"])
        elif kind == "result":
            self.result = msgspec.convert(said, Result)
            self._settled_usage = (self._settled_usage or Usage()) + _usage_of(self.result)
        elif kind not in _SILENT:
            yield from self._unknown_output.warn_once(str(kind), msgspec.json.encode(said))

    def _streamed(self, event: dict[str, Any]) -> Iterator[Event]:
        kind = event["type"]
        if kind == "message_start":
            self._streamed_message = event["message"]["id"]
            self._streamed_usage += _message_usage(event["message"].get("usage") or {}, with_output=False)
        elif kind == "content_block_delta":
            delta = event["delta"]
            if delta.get("text"):
                self._text_since_stop = True
                yield MessageDelta(text=delta["text"])
            elif delta.get("thinking"):
                yield ReasoningDelta(text=delta["thinking"])
        elif kind == "message_delta":
            self._streamed_usage += Usage(output_tokens=int((event.get("usage") or {}).get("output_tokens") or 0))
        elif kind == "message_stop" and self._text_since_stop:
            yield self._stop()

    def _stop(self) -> MessageStopped:
        self._text_since_stop = False
        return MessageStopped()

    def _assistant(self, said: dict[str, Any]) -> Iterator[Event]:
        message = said["message"]
        if said.get("is_api_error_message"):
            text = "".join(block.get("text", "") for block in message["content"])
            self._api_error = (text, said.get("api_error_status"))
            return
        self._api_error = None
        was_streamed = message["id"] == self._streamed_message or said.get("parent_tool_use_id") is not None
        for block in message["content"]:
            match block["type"]:
                case "text" if not was_streamed:  # the CLI repeated the request without streaming
                    yield MessageDelta(text=block["text"])
                    yield MessageStopped()
                case "thinking" if not was_streamed:
                    yield ReasoningDelta(text=block["thinking"])
                case "tool_use":
                    yield self._tools.start(block["id"], block["name"], block["input"])
                    if block["name"] == "TodoWrite":
                        todos = block["input"]["todos"]
                        yield snapshot((todo["content"], todo["status"]) for todo in todos)

    def _tool_results(self, content: Any) -> Iterator[Event]:
        for block in content if isinstance(content, list) else []:
            if block["type"] == "tool_result":
                output = _plain(block.get("content"))
                yield self._tools.end(block["tool_use_id"], output, ok=not block.get("is_error"))

    def _system(self, said: dict[str, Any]) -> Iterator[RunWarning]:
        if said.get("subtype") == "api_retry":
            status = said.get("error_status")
            why = f"{said.get('error')}{f' ({status})' if status else ''}"
            message = (
                f"the model's answer failed: {why}; try {said.get('attempt')} of {said.get('max_retries')} follows"
            )
            yield warning("model_retry", message)
        elif said.get("subtype") == "compact_boundary":
            yield warning("conversation_compacted", "the conversation grew too long and was summarised by Claude Code")

    def _on_control_request(self, request_id: str, request: dict[str, Any], original: bytes) -> Iterator[Event]:
        if request["subtype"] != "can_use_tool":
            yield from self._unknown_output.warn_once(request["subtype"], msgspec.json.encode(request))
            return
        question_id = request.get("tool_use_id") or request_id
        # The control response repeats the input: taken from the line before redaction, so that the tool gets the
        # original.
        as_asked = msgspec.json.decode(original)["request"]
        if request["tool_name"] == "AskUserQuestion":
            questions = request["input"]["questions"]
            ids = QuestionSet(question_id, len(questions))
            for each_id, question in zip(ids.ids, questions, strict=True):
                self._asked[each_id] = _OpenRequest(request_id=request_id, request=as_asked, questions=ids)
                yield HumanLoopRequested(
                    question_id=each_id,
                    prompt=question["question"],
                    options=tuple(
                        Option(label=option["label"], description=option.get("description", ""))
                        for option in question.get("options", ())
                    ),
                    timeout_ms=self._timeout_ms,
                )
            return
        self._asked[question_id] = _OpenRequest(request_id=request_id, request=as_asked)
        name = request.get("display_name") or request["tool_name"]
        what = (
            request["input"].get("plan") or request.get("description") or msgspec.json.encode(request["input"]).decode()
        )
        yield HumanLoopRequested(
            question_id=question_id,
            kind="permission",
            prompt=f"{name}: {what}",
            options=PERMISSION_OPTIONS,
            timeout_ms=self._timeout_ms,
        )

    def _canceled(self, request_id: str) -> Iterator[Event]:
        for question_id in self._forget(request_id):
            yield HumanLoopCanceled(question_id=question_id, reason="Claude Code does not wait for it any more")

    def _forget(self, request_id: str) -> list[str]:
        ids = [question_id for question_id, asked in self._asked.items() if asked.request_id == request_id]
        for question_id in ids:
            del self._asked[question_id]
        return ids


def _permission_response(request: dict[str, Any], answer: Any) -> dict[str, Any]:
    decided = permission_answer(answer)
    if decided.decision == "deny":
        return {"behavior": "deny", "message": decided.message or "The user does not allow this."}
    response = {"behavior": "allow", "updatedInput": request["input"]}
    suggested = cast("list[dict[str, Any]]", request.get("permission_suggestions") or [])
    if decided.decision == "session" and suggested:
        response["updatedPermissions"] = [{**each, "destination": "session"} for each in suggested]
    return response


def _plain(content: Any) -> Any:
    """A tool's output as one string if it consists of text blocks only, else as it is."""
    if isinstance(content, list) and all(isinstance(each, dict) and each.get("type") == "text" for each in content):
        return "\n".join(each.get("text", "") for each in content)
    return content


def _usage_of(result: Result) -> Usage:
    """Usage of a turn; input tokens include cached ones."""
    models = result.model_usage_since_last_result.values()
    if not models:
        return _message_usage(result.usage, with_output=True)

    def total(*names: str) -> int:
        return sum(int(model.get(name) or 0) for model in models for name in names)

    return Usage(
        input_tokens=total("inputTokens", "cacheReadInputTokens", "cacheCreationInputTokens"),
        output_tokens=total("outputTokens"),
        cached_input_tokens=total("cacheReadInputTokens"),
        cost_usd=sum(float(model.get("costUSD") or 0) for model in models),
    )


def _message_usage(usage: dict[str, Any], *, with_output: bool) -> Usage:
    cached = int(usage.get("cache_read_input_tokens") or 0)
    fresh = int(usage.get("input_tokens") or 0) + int(usage.get("cache_creation_input_tokens") or 0)
    output = int(usage.get("output_tokens") or 0) if with_output else 0
    return Usage(input_tokens=fresh + cached, cached_input_tokens=cached, output_tokens=output)

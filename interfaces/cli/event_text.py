"""An event as one line of text, and the state of its run or session after it as another."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec
from rich.text import Text

from domain.event import WrittenByNewerVersion, decode, event_types
from domain.record import Metadata, RecordedEvent
from interfaces.cli.console import short
from projections.documents import Document, RunFold, SessionFold
from projections.runs import StreamEnd

TODO_MARKS = {"todo": "☐", "doing": "▶", "done": "☑", "canceled": "☒"}
STATE_COLOURS = {
    "queued": "yellow",
    "blocked": "red",
    "running": "cyan",
    "waiting_human": "magenta",
    "succeeded": "green",
    "failed": "red",
    "canceled": "yellow",
    "stopped": "yellow",
    "deleted": "red",
}
_DELTAS = ("message.delta", "reasoning.delta")
_ENVELOPE = {"type", "runId", "sessionId", "provider", "seq", "position", "ts"}
_NOT_SHOWN = {"leaseGeneration", "generation", "attempt", "plan", "spec", "bootId"}


class ShownEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event from the API's lists and streams. `schema_version` 0: the current one of this code."""

    position: int
    stream: str
    seq: int
    type: str
    occurred_at: datetime
    payload: dict[str, Any]
    schema_version: int = 0


def from_list(event: Mapping[str, Any]) -> ShownEvent:
    """An event from a page of `GET /api/events` or `GET /api/streams/{stream}/events`."""
    return ShownEvent(
        position=event["position"],
        stream=event["stream"],
        seq=event["seq"],
        type=event["type"],
        occurred_at=datetime.fromisoformat(event["occurredAt"]),
        payload=event["payload"],
        schema_version=event["schemaVersion"],
    )


def from_stream(data: Mapping[str, Any]) -> ShownEvent:
    """An event from a run's live stream or replay, whose payload is flattened into the envelope."""
    payload = {name: value for name, value in data.items() if name not in _ENVELOPE}
    if data["type"] == "run.warning" and "code" in payload:
        payload["warning"] = {"code": payload.pop("code"), "message": payload["warning"]}
    return ShownEvent(
        position=data["position"],
        stream=f"run:{data['runId']}",
        seq=data["seq"],
        type=data["type"],
        occurred_at=datetime.fromisoformat(data["ts"]),
        payload=payload,
    )


def event_text(event: ShownEvent) -> str:
    """The event's payload as one line."""
    text = _TEXTS.get(event.type)
    try:
        return short(text(event.payload) if text else _rest(event.payload))
    except (KeyError, TypeError, AttributeError):  # a payload of another schema version
        return short(_rest(event.payload))


def _rest(payload: dict[str, Any]) -> str:
    shown = {name: value for name, value in payload.items() if name not in _NOT_SHOWN and value not in ("", None, [])}
    return " ".join(f"{name}={short(value)}" for name, value in shown.items())


def _queued(payload: dict[str, Any]) -> str:
    spec = payload["spec"]
    messages = spec.get("messages") or [{}]
    return f"{spec['provider']} {spec.get('model', '')}: {messages[-1].get('content', '')}"


def _tool_ended(payload: dict[str, Any]) -> str:
    return f"{'✓' if payload.get('ok', True) else '✗'} {short(payload.get('output') or '')}"


def _todo(todo: dict[str, Any]) -> str:
    return f"{TODO_MARKS.get(todo.get('status', 'todo'), '?')} {todo.get('content', '')}"


def _ended(payload: dict[str, Any]) -> str:
    return f"{payload['outcome']} {(payload.get('error') or {}).get('message', '')}"


_WAITED_FOR = {"person": "a person", "place": "a place for its session worker", "session": "its session"}
_TEXTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "message.delta": lambda payload: str(payload["text"]),
    "reasoning.delta": lambda payload: str(payload["text"]),
    "message.stop": lambda payload: str(payload.get("text", "")),
    "tool.start": lambda payload: f"{payload.get('name', '')} {short(payload.get('input') or '')}",
    "tool.end": _tool_ended,
    "todo.update": lambda payload: _todo(payload["todo"]),
    "todo.snapshot": lambda payload: "  ".join(map(_todo, payload["todos"])),
    "human_loop.requested": lambda payload: str(payload.get("prompt") or payload["questionId"]),
    "human_loop.resolved": lambda payload: short(payload["answer"]),
    "run.queued": _queued,
    "run.parked": lambda payload: f"waits for {_WAITED_FOR[payload['waitsFor']]}",
    "run.phase": lambda payload: str(payload["phase"]),
    "session.titled": lambda payload: str(payload["title"]),
    "run.warning": lambda payload: str(payload["warning"]["message"]),
    "run.conversation_carried": lambda payload: (
        f"{payload['how']} from {payload['originRunId']} up to seq {payload['originSeq']}"
    ),
    "run.quota_exceeded": lambda payload: (
        f"{payload['quota'].replace('_', ' ')}: {payload['reached']:,} of {payload['limit']:,}"
    ),
    "run.agent_finished": _ended,
    "run.finished": _ended,
    "session.forked": lambda payload: f"from {payload['origin']['runId']} at seq {payload['origin']['atSeq']}",
}


class StateAfter:
    """Folds a stream's events as the server does; one line about the state after each. `kind`: `run` or `session`."""

    def __init__(self, kind: str, key: str) -> None:
        self._fold: RunFold | SessionFold = RunFold(key) if kind == "run" else SessionFold(key)
        self._line: Callable[[Document], Text] = run_line if kind == "run" else worker_line
        self.last = Text("")

    def after(self, event: ShownEvent) -> Text | None:
        """The line, if it differs from the one before; None if it doesn't, or if this code doesn't know the event."""
        recorded = _recorded(event)
        if recorded is None or not self._fold.step(recorded) or event.type in _DELTAS:
            return None
        end = StreamEnd(seq=event.seq, position=event.position, at=event.occurred_at)
        document = self._fold.document(end)
        return None if document is None else self._changed(document)

    def _changed(self, document: Document) -> Text | None:
        line = self._line(document)
        if line == self.last:
            return None
        self.last = line
        return line


def _recorded(event: ShownEvent) -> RecordedEvent | None:
    known = event_types().get(event.type)
    try:
        body = decode(
            event.type,
            event.schema_version or (known.schema_version if known else 1),
            msgspec.json.encode(event.payload),
        )
    except (WrittenByNewerVersion, msgspec.MsgspecError):
        return None
    return RecordedEvent(
        position=event.position,
        stream=event.stream,
        seq=event.seq,
        event_id="",
        event=body,
        occurred_at=event.occurred_at,
        recorded_at=event.occurred_at,
        metadata=Metadata(actor="", correlation_id=""),
    )


def run_line(run: Document) -> Text:
    """Such as `running  2/4 todos  3 tools  1 failed  ? which one`."""
    line = Text.assemble((run["state"], STATE_COLOURS.get(run["state"], "blue")))
    todos = [todo["status"] for todo in run["todos"].values() if todo["status"] != "canceled"]
    if todos:
        line.append(f"  {todos.count('done')}/{len(todos)} todos", "green" if set(todos) == {"done"} else "")
    tools = run["tools"]
    if tools["started"]:
        line.append(f"  {tools['started']} tools", "yellow")
    if tools["failed"]:
        line.append(f"  {tools['failed']} failed", "red")
    for question in run["questions"].values():
        if question["questionId"] in run["openQuestions"]:
            line.append(f"  ? {short(question['prompt'] or question['questionId'], 40)}", "magenta")
    if run["error"]:
        line.append(f"  {short(run['error']['message'], 60)}", "red")
    return line


def worker_line(worker: Document) -> Text:
    """Such as `running  generation 1  sync success  run r-1`."""
    line = Text.assemble((worker["state"], STATE_COLOURS.get(worker["state"], "green")))
    if worker["phase"] != worker["state"]:
        line.append(f" {worker['phase']}", "dim")
    line.append(f"  generation {worker['generation']}  sync {worker['lastSyncStatus']}")
    if worker["attachedRunId"]:
        line.append(f"  run {worker['attachedRunId']}", "cyan")
    if worker["lastError"]:
        line.append(f"  {short(worker['lastError'], 60)}", "red")
    return line

"""Callbacks whose fields stand beside `eventId` and `type`, as older clients send them, in the form with a `payload`.

`occurredAt` may come with either form, and dates a todo; the log has its own times.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import replace

from application.runs import callbacks
from domain.run.events import HumanLoopRequested
from domain.run.values import Option, OutputRef, QuestionKind, RunError, RunOutcome, Todo, Usage
from interfaces.http.edge.queries import YEAR_MS
from interfaces.http_conventions import bodies
from interfaces.http_conventions.problems import invalid

Status = Literal["succeeded", "finished", "completed", "success", "failed", "error", "canceled", "cancelled", "stopped"]
_OUTCOMES: dict[Status, RunOutcome] = {
    "succeeded": "succeeded",
    "finished": "succeeded",
    "completed": "succeeded",
    "success": "succeeded",
    "failed": "failed",
    "error": "failed",
    "canceled": "canceled",
    "cancelled": "canceled",
    "stopped": "canceled",
}
_OWN = frozenset({"event_id", "type", "occurred_at", "payload"})
_IGNORED = frozenset({"run_id", "session_id", "provider", "seq", "position", "ts"})
Time = Annotated[datetime, Meta(tz=True)]


class Callback(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One report. `type` is a wire name of a run event; `payload` that event's fields, which may as well stand beside
    `type`: never both. A callback of another type is recorded unchanged in a `run.warning`. `status`: of a run that has
    finished, its `outcome`. `metadata.deadlineAt`: when a question expires, unless `timeoutMs` says it. `occurredAt`:
    when it happened. `runId`, `sessionId`, `provider`, `seq`, `position` and `ts` are taken and ignored."""

    event_id: str
    type: str
    occurred_at: Time | None = None
    payload: dict[str, Any] | UnsetType = UNSET
    text: str | UnsetType = UNSET
    channel: Literal["stdout", "stderr"] | UnsetType = UNSET
    tool_id: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    input: Any = UNSET
    output: Any = UNSET
    output_ref: OutputRef | UnsetType | None = UNSET
    ok: bool | UnsetType = UNSET
    duration_ms: int | UnsetType | None = UNSET
    todo: Todo | UnsetType = UNSET
    todos: tuple[Todo, ...] | UnsetType = UNSET
    question_id: str | UnsetType = UNSET
    kind: QuestionKind | UnsetType = UNSET
    prompt: str | UnsetType = UNSET
    options: tuple[Option, ...] | UnsetType = UNSET
    default_answer: Any = UNSET
    timeout_ms: int | UnsetType | None = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET
    answer: Any = UNSET
    reason: str | UnsetType = UNSET
    warning: str | UnsetType = UNSET
    code: str | UnsetType = UNSET
    status: Status | UnsetType = UNSET
    outcome: RunOutcome | UnsetType = UNSET
    error: RunError | UnsetType | None = UNSET
    usage: Usage | UnsetType = UNSET
    provider_session_id: str | UnsetType = UNSET
    exit_code: int | UnsetType | None = UNSET
    run_id: Any = UNSET
    session_id: Any = UNSET
    provider: Any = UNSET
    seq: Any = UNSET
    position: Any = UNSET
    ts: Any = UNSET


_REPORTED = {
    name: wire
    for name, wire in zip(Callback.__struct_fields__, Callback.__struct_encode_fields__, strict=True)
    if name not in _OWN | _IGNORED
}
_flat = msgspec.json.Decoder(Callback)


def in_todays_form(raw: bytes | bytearray | msgspec.Raw, root: str) -> tuple[callbacks.Callback, bool]:
    """The callback that an older client sent as this JSON, and whether its fields stood beside its type. Raises Problem
    400 with the field as it was sent, below `root`."""
    sent = bodies.decode_body(bytes(raw), _flat, root=root)
    given = {wire: value for name, wire in _REPORTED.items() if (value := getattr(sent, name)) is not UNSET}
    if sent.payload is not UNSET:
        if given:
            raise invalid(f"{root}.{next(iter(given))}".removeprefix("."), "stands in `payload`, if there is one")
        payload = sent.payload
    else:
        payload = msgspec.to_builtins(_renamed(given) if sent.type in callbacks.ACCEPTED else given)
    callback = callbacks.Callback(event_id=sent.event_id, type=sent.type, payload=_dated(payload, sent.occurred_at))
    return callback, sent.payload is UNSET


def _renamed(given: dict[str, Any]) -> dict[str, Any]:
    """The fields of an event that there is, by its own names."""
    renamed = dict(given)
    if (status := renamed.pop("status", None)) is not None:
        renamed.setdefault("outcome", _OUTCOMES[status])
    if isinstance(warning := renamed.get("warning"), str):
        renamed["warning"] = {"code": renamed.pop("code", "reported"), "message": warning}
    return renamed


def with_timeout(callback: callbacks.Callback, root: str) -> callbacks.Callback:
    """A question with the `timeoutMs` that its `metadata.deadlineAt` leaves. Raises Problem 400, below `root`."""
    metadata = callback.payload.get("metadata")
    text = metadata.get("deadlineAt") if isinstance(metadata, dict) else None
    if callback.type != HumanLoopRequested.wire_name or text is None or "timeoutMs" in callback.payload:
        return callback
    field = f"{root}.metadata.deadlineAt".removeprefix(".")
    try:
        deadline = msgspec.convert(text, Time)
        left_ms = int((deadline - datetime.now(UTC)).total_seconds() * 1000)
    except (msgspec.ValidationError, OverflowError):
        raise invalid(field, "is not a time with its zone, such as 2026-03-04T05:06:07Z") from None
    if left_ms > YEAR_MS:
        raise invalid(field, "is more than a year away")
    return replace(callback, payload={**callback.payload, "timeoutMs": max(left_ms, 0)})


def _dated(payload: dict[str, Any], at: datetime | None) -> dict[str, Any]:
    """With the time of a todo that has none of its own."""
    todo = payload.get("todo")
    if at is None or not isinstance(todo, dict) or "updatedAt" in todo:
        return payload
    return {**payload, "todo": {**todo, "updatedAt": at.isoformat()}}

"""The frames of a run as older clients read them.

A todo always has `status` and `order`, which the log leaves out where they are the defaults; `run.warning` has the text
as `warning` and its `code` beside it, where the log has an object of both; and for `?compat=1` each `todo.snapshot` is
followed by a `todo.update` frame for each of its items, derived and so without id.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from domain.record import time_text
from domain.run.events import RunWarning, TodosReplaced, TodoUpdated
from domain.run.values import Todo

_TRANSLATED = tuple(
    f"\nevent: {event.wire_name}\ndata: ".encode() for event in (TodoUpdated, TodosReplaced, RunWarning)
)
_END = b"\n\n"
_OF_DERIVED = ("runId", "sessionId", "provider", "ts")
_LEFT_OUT = {"status": (_DEFAULTS := Todo(todo_id="", content="")).status, "order": _DEFAULTS.order}
_encode = msgspec.json.Encoder().encode


def accepted(run_id: str, provider: str, queued_at: datetime) -> bytes:
    """The first frame of the stream with which a run is started. Its id is a cursor: whoever was cut off after it goes
    on from the first event."""
    return b"id: 0\n" + _frame(
        "run.status",
        {"runId": run_id, "provider": provider, "status": "accepted", "ts": time_text(queued_at)},
    )


def with_older_names(*, todo_updates: bool) -> Callable[[bytes], bytes]:
    """What translates whole frames of a run. `todo_updates`: with those derived from a snapshot."""

    def translate(frames: bytes) -> bytes:
        if not any(mark in frames for mark in _TRANSLATED):
            return frames
        return b"".join(_translated(frame, todo_updates) for frame in frames.split(_END)[:-1])

    return translate


def _translated(frame: bytes, todo_updates: bool) -> bytes:
    mark = next((mark for mark in _TRANSLATED if mark in frame), None)
    if mark is None:
        return frame + _END
    head, _, data = frame.partition(mark)
    fields: dict[str, Any] = msgspec.json.decode(data)
    derived = b""
    if "todos" in fields:
        fields["todos"] = [_todo(todo) for todo in fields["todos"]]
        if todo_updates:
            shared = {name: fields[name] for name in _OF_DERIVED}
            derived = b"".join(_frame(TodoUpdated.wire_name, {**shared, "todo": todo}) for todo in fields["todos"])
    elif "todo" in fields:
        fields["todo"] = _todo(fields["todo"])
    elif "warning" in fields:
        warning = fields.pop("warning")
        fields |= {"warning": warning["message"], "code": warning["code"]}
    return head + mark + _encode(fields) + _END + derived


def _todo(stored: dict[str, Any]) -> dict[str, Any]:
    return stored | {name: stored.get(name, default) for name, default in _LEFT_OUT.items()}


def _frame(wire_name: str, members: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (wire_name.encode(), _encode({"type": wire_name, **members}))

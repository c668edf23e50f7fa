"""The frames of a run as older clients read them.

A todo always has `status` and `order`, which the log leaves out where they are the defaults; `run.warning` has the text
as `warning` and its `code` beside it, where the log has an object of both; and for `?compat=1` each `todo.snapshot` is
followed by a `todo.update` frame for each of its items, derived and so without id.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from domain.record import time_text
from domain.run.events import RunWarning, TodosReplaced, TodoUpdated
from domain.run.values import Todo

_SNAPSHOT = f"\nevent: {TodosReplaced.wire_name}\ndata: ".encode()
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


def with_todo_updates(frames: bytes) -> bytes:
    """Whole frames of a run, with those that older clients get after a snapshot."""
    if _SNAPSHOT not in frames:
        return frames
    return b"".join(frame + _END + _updates(frame) for frame in frames.split(_END)[:-1])


def _updates(frame: bytes) -> bytes:
    _, _, data = frame.partition(_SNAPSHOT)
    snapshot: dict[str, Any] = msgspec.json.decode(data) if data else {}
    if "todos" not in snapshot:
        return b""
    shared = {name: snapshot[name] for name in _OF_DERIVED}
    return b"".join(_frame(TodoUpdated.wire_name, {**shared, "todo": todo}) for todo in snapshot["todos"])


def _frame(wire_name: str, members: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (wire_name.encode(), _encode({"type": wire_name, **members}))


def _one_todo(payload: dict[str, Any]) -> dict[str, Any]:
    return payload | {"todo": _todo(payload["todo"])}


def _all_todos(payload: dict[str, Any]) -> dict[str, Any]:
    return payload | {"todos": [_todo(todo) for todo in payload["todos"]]}


def _todo(stored: dict[str, Any]) -> dict[str, Any]:
    return stored | {name: stored.get(name, default) for name, default in _LEFT_OUT.items()}


def _warning(payload: dict[str, Any]) -> dict[str, Any]:
    warning = payload["warning"]
    return payload | {"warning": warning["message"], "code": warning["code"]}


def _shown(form: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[bytes], bytes]:
    """A form of payloads as they are stored. What this code can't read is shown as it is."""

    def show(payload: bytes) -> bytes:
        try:
            return _encode(form(msgspec.json.decode(payload)))
        except (msgspec.DecodeError, LookupError, TypeError, AttributeError):
            return payload

    return show


OLDER_FORMS: Mapping[str, Callable[[bytes], bytes]] = {
    TodoUpdated.wire_name: _shown(_one_todo),
    TodosReplaced.wire_name: _shown(_all_todos),
    RunWarning.wire_name: _shown(_warning),
}
"""By the wire name of an event: the payload in the older form, of the one that is stored."""

"""A run's frames as older clients read them."""

import json
from datetime import timedelta
from typing import Any

import pytest

from domain.event import Event, encode
from domain.run.events import MessageDelta, RunWarning, TodosReplaced, TodoUpdated
from domain.run.values import Todo, Warn
from infrastructure.postgres.event_store.reading import StoredRow
from infrastructure.streams.run_frames import HEARTBEAT, RunFrames, RunIdentity
from interfaces.http.compatibility.run_frames import OLDER_FORMS, accepted, with_todo_updates
from tests.support.recorded import OCCURRED_AT

FRAMES = RunFrames(RunIdentity(run_id="r", session_id="s", provider="p"), OLDER_FORMS)
ITEMS = (Todo(todo_id="a", content="eat"), Todo(todo_id="b", content="sleep", status="doing", order=2))
DELTA = MessageDelta(text='\n\nevent: todo.update\ndata: {"todo":{}}\n\n')


def frame(event: Event, seq: int = 7) -> bytes:
    return FRAMES.stored(
        StoredRow(19, "run:r", seq, event.wire_name, "e", OCCURRED_AT, OCCURRED_AT, 1, b"{}", encode(event))
    )


def read(frames: bytes) -> list[tuple[str, str, dict[str, Any]]]:
    """Id, name and data of each."""
    found = []
    for block in frames.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((fields.get("id", ""), fields["event"], json.loads(fields["data"])))
    return found


def test_a_todo_always_has_a_status_and_an_order() -> None:
    (one, many) = read(frame(TodoUpdated(todo=ITEMS[0])) + frame(TodosReplaced(todos=ITEMS), 8))
    assert one[:2] == ("7", "todo.update")
    assert one[2]["todo"] == {"todoId": "a", "content": "eat", "status": "todo", "order": 0}
    assert one[2].items() >= {"runId": "r", "sessionId": "s", "provider": "p", "seq": 7, "position": 19}.items()
    assert [(todo["status"], todo["order"]) for todo in many[2]["todos"]] == [("todo", 0), ("doing", 2)]


def test_a_snapshot_is_followed_by_an_update_without_id_for_each_item_for_who_asks_so() -> None:
    snapshot, first, second = read(with_todo_updates(frame(TodosReplaced(todos=ITEMS))))
    assert (snapshot[0], first[:2], second[:2]) == ("7", ("", "todo.update"), ("", "todo.update"))
    assert first[2] == {
        "type": "todo.update",
        "runId": "r",
        "sessionId": "s",
        "provider": "p",
        "ts": "2026-03-04T05:06:07.891011Z",
        "todo": {"todoId": "a", "content": "eat", "status": "todo", "order": 0},
    }
    assert second[2]["todo"]["todoId"] == "b"


def test_a_warning_is_a_text_with_its_code_beside_it() -> None:
    ((_, _, data),) = read(frame(RunWarning(warning=Warn(code="cut", message="too long"))))
    assert (data["warning"], data["code"]) == ("too long", "cut")


def test_all_other_frames_are_passed_on_as_they_are() -> None:
    others = frame(DELTA) + HEARTBEAT + FRAMES.caught_up + FRAMES.closed
    assert with_todo_updates(others) == others
    snapshot = frame(TodosReplaced(todos=ITEMS[:1]))
    derived = with_todo_updates(snapshot).removeprefix(snapshot)
    assert with_todo_updates(others + snapshot + others) == others + snapshot + derived + others


@pytest.mark.parametrize("payload", [b"", b"{}", b'{"todo":5}', b"\xff\xfe", b'{"todos":'])
def test_what_can_not_be_read_is_shown_as_it_is(payload: bytes) -> None:
    as_stored = RunFrames(RunIdentity(run_id="r", session_id="s", provider="p"))
    for kind in OLDER_FORMS:
        row = StoredRow(19, "run:r", 7, kind, "e", OCCURRED_AT, OCCURRED_AT, 1, b"{}", payload)
        assert FRAMES.stored(row) == as_stored.stored(row)


def test_an_erased_snapshot_has_no_updates() -> None:
    erased = FRAMES.stored(StoredRow(19, "run:r", 7, "todo.snapshot", "e", OCCURRED_AT, OCCURRED_AT, 1, b"{}", b""))
    assert with_todo_updates(erased) == erased


def test_the_first_frame_of_a_start_is_a_cursor_from_which_nothing_is_missed() -> None:
    ((cursor, name, data),) = read(accepted('r"1', "p", OCCURRED_AT + timedelta(hours=1)))
    assert (cursor, name) == ("0", "run.status")
    assert data == {
        "type": "run.status",
        "runId": 'r"1',
        "provider": "p",
        "status": "accepted",
        "ts": "2026-03-04T06:06:07.891011Z",
    }

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
from interfaces.http.compatibility.run_frames import accepted, with_older_names
from tests.support.recorded import OCCURRED_AT

FRAMES = RunFrames(RunIdentity(run_id="r", session_id="s", provider="p"))
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
    (one, many) = read(
        with_older_names(todo_updates=False)(frame(TodoUpdated(todo=ITEMS[0])) + frame(TodosReplaced(todos=ITEMS), 8))
    )
    assert one[:2] == ("7", "todo.update")
    assert one[2]["todo"] == {"todoId": "a", "content": "eat", "status": "todo", "order": 0}
    assert one[2].items() >= {"runId": "r", "sessionId": "s", "provider": "p", "seq": 7, "position": 19}.items()
    assert [(todo["status"], todo["order"]) for todo in many[2]["todos"]] == [("todo", 0), ("doing", 2)]


def test_a_snapshot_is_followed_by_an_update_without_id_for_each_item_for_who_asks_so() -> None:
    snapshot, first, second = read(with_older_names(todo_updates=True)(frame(TodosReplaced(todos=ITEMS))))
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
    ((_, _, data),) = read(
        with_older_names(todo_updates=False)(frame(RunWarning(warning=Warn(code="cut", message="too long"))))
    )
    assert (data["warning"], data["code"]) == ("too long", "cut")


@pytest.mark.parametrize("todo_updates", [False, True])
def test_all_other_frames_are_passed_on_as_they_are(todo_updates: bool) -> None:
    translate = with_older_names(todo_updates=todo_updates)
    others = frame(DELTA) + HEARTBEAT + FRAMES.caught_up + FRAMES.closed
    assert translate(others) == others
    mixed = others + frame(RunWarning(warning=Warn(code="cut", message="too long"))) + others
    translated = translate(mixed)
    assert translated.startswith(others)
    assert translated.endswith(others)


def test_an_erased_payload_stays_one() -> None:
    erased = FRAMES.stored(StoredRow(19, "run:r", 7, "todo.update", "e", OCCURRED_AT, OCCURRED_AT, 1, b"{}", b""))
    assert read(with_older_names(todo_updates=True)(erased)) == read(erased)


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

"""Todo lists and questions: given events, what reads show."""

from typing import Any

import pytest

from domain.event import Event
from domain.run import events as e
from domain.run.values import Option, Todo
from projections import human_loop, todos
from projections.human_loop import HUMAN_LOOP, AskingRun, HumanLoopRow, question_key
from projections.todos import TODOS
from tests.support.recorded import as_json, at, recorded
from tests.unit.projections.test_runs import SPEC


def listed(*events: Event) -> list[tuple[str, str]]:
    row = TODOS.fold_all(recorded("run:r1", events))["r1"]
    return [(item.todo_id, item.status) for item in todos.view(row)]


def item(todo_id: str, status: Any = "todo", order: int = 0) -> Todo:
    return Todo(todo_id=todo_id, content=f"do {todo_id}", status=status, order=order)


def test_an_update_touches_only_its_item() -> None:
    snapshot = e.TodosReplaced(todos=(item("a", order=1), item("b", order=2)))
    assert listed(snapshot, e.TodoUpdated(todo=item("b", "done", order=2))) == [("a", "todo"), ("b", "done")]
    assert listed(snapshot, e.TodoUpdated(todo=item("c", order=0))) == [("c", "todo"), ("a", "todo"), ("b", "todo")]


def test_a_snapshot_replaces_the_list() -> None:
    assert listed(e.TodoUpdated(todo=item("a")), e.TodosReplaced(todos=(item("z"),))) == [("z", "todo")]
    assert listed(e.TodoUpdated(todo=item("a")), e.TodosReplaced(todos=())) == []
    assert listed(e.TodosReplaced(todos=(item("a"), item("a", "done")))) == [("a", "done")]


def test_ties_go_by_first_appearance() -> None:
    updates = [e.TodoUpdated(todo=item(name)) for name in "cab"]
    assert listed(*updates, e.TodoUpdated(todo=item("c", "done"))) == [("c", "done"), ("a", "todo"), ("b", "todo")]


def test_an_item_without_a_time_has_that_of_its_event() -> None:
    stream = recorded("run:r1", [e.TodoUpdated(todo=item("a")), e.TodosReplaced(todos=(item("b"),))])
    row = TODOS.fold_all(stream[:1])["r1"]
    assert as_json(todos.view(row)) == [
        {"todoId": "a", "content": "do a", "status": "todo", "order": 0, "updatedAt": at(1)}
    ]
    assert as_json(todos.change(stream[1])) == {
        "seq": 2,
        "position": 102,
        "eventId": "run:r1/2",
        "type": "todo.snapshot",
        "ts": at(2),
        "todo": None,
        "todos": [{"todoId": "b", "content": "do b", "status": "todo", "order": 0, "updatedAt": at(2)}],
        "leftOut": 0,
    }


def test_a_list_that_is_short_says_how_many_items_found_no_room() -> None:
    cut = e.TodosReplaced(todos=(item("a"),), left_out=4)
    full = e.TodoUpdated(todo=item("b"), left_out=True)
    rows = [TODOS.fold_all(recorded("run:r1", events))["r1"] for events in ([cut], [cut, full], [cut, full, ANOTHER])]
    assert [(len(row.items), row.left_out) for row in rows] == [(1, 4), (1, 5), (1, 0)]
    assert [todos.change(each).left_out for each in recorded("run:r1", [cut, full])] == [4, 1]


def test_a_list_from_before_runs_had_a_quota_is_bounded_too() -> None:
    many = e.TodosReplaced(todos=tuple(item(str(number)) for number in range(todos.MAX_ITEMS)))
    row = TODOS.fold_all(recorded("run:r1", [many, e.TodoUpdated(todo=item("x")), e.TodoUpdated(todo=item("1"))]))["r1"]
    assert (len(row.items), row.left_out) == (todos.MAX_ITEMS, 1)


ANOTHER = e.TodosReplaced(todos=(item("z"),))
ASKED = e.HumanLoopRequested(
    question_id="q", prompt="which?", options=(Option(label="a", description="the first"),), timeout_ms=60_000
)


def asked(*events: Event) -> dict[str, Any]:
    rows = HUMAN_LOOP.fold_all(recorded("run:r1", [e.RunQueued(spec=SPEC), *events]))
    row, run = rows[question_key("r1", "q")], rows["r1"]
    assert isinstance(row, HumanLoopRow)
    assert isinstance(run, AskingRun)
    assert HUMAN_LOOP.decode(HUMAN_LOOP.encode(row)) == row
    shown: dict[str, Any] = as_json(human_loop.view(row, run))
    return shown


def test_an_open_question() -> None:
    assert asked(ASKED) == {
        "runId": "r1",
        "sessionId": "s1",
        "questionId": "q",
        "kind": "question",
        "prompt": "which?",
        "options": [{"label": "a", "description": "the first"}],
        "defaultAnswer": None,
        "metadata": {},
        "status": "open",
        "requestedAt": at(2),
        "expiresAt": at(62),
        "answer": None,
        "reason": "",
        "resolvedAt": None,
        "seq": 2,
        "position": 102,
    }


@pytest.mark.parametrize(
    ("events", "status", "answer", "reason", "resolved"),
    [
        ([e.HumanLoopReplyAccepted(question_id="q", answer=[1])], "answering", [1], "", None),
        ([e.HumanLoopReplyAccepted(question_id="q", answer=1), e.HumanLoopResolved(question_id="q", answer=1)],
         "resolved", 1, "", at(4)),
        ([e.HumanLoopCanceled(question_id="q", reason="why")], "canceled", None, "why", at(3)),
        ([e.HumanLoopReplyAccepted(question_id="q", answer=1), e.HumanLoopExpired(question_id="q", reason="lost")],
         "expired", None, "lost", at(4)),
        ([e.HumanLoopResolved(question_id="other", answer=1)], "open", None, "", None),
    ],
)  # fmt: skip
def test_how_a_question_ends(events: list[Event], status: str, answer: Any, reason: str, resolved: str | None) -> None:
    shown = asked(ASKED, *events)
    assert (shown["status"], shown["answer"], shown["reason"], shown["resolvedAt"]) == (
        status,
        answer,
        reason,
        resolved,
    )


def test_a_timeout_beyond_any_calendar_never_expires() -> None:
    forever = e.HumanLoopRequested(question_id="q", timeout_ms=10**18)
    assert asked(forever)["expiresAt"] is None


def test_any_question_id_makes_a_key_that_postgres_takes() -> None:
    assert len(question_key("r1", "\0" * 100_000)) < 50


def test_a_later_attempt_asks_the_same_again() -> None:
    shown = asked(ASKED, e.HumanLoopExpired(question_id="q", reason="lost"), ASKED)
    assert (shown["status"], shown["reason"], shown["requestedAt"], shown["seq"]) == ("open", "", at(4), 4)

"""Chats: given events of sessions and runs, what the list shows."""

from typing import Any

import pytest
from msgspec.structs import replace

from domain.event import Event
from domain.record import RecordedEvent
from domain.run import events as r
from domain.run.values import Message
from domain.session import events as s
from projections.chats import CHATS, MAX_OPENING_CHARS, columns, view
from tests.support import sessions
from tests.support.recorded import as_json, at, recorded
from tests.unit.projections.test_runs import SPEC

TITLED = s.SessionTitled(title="Taxes", app_id="app", project_name="default", user_login_name="tim")


def run(*said: str, user: str = "rita") -> r.RunQueued:
    messages = tuple(Message(role="user", content=each) for each in said)
    return r.RunQueued(spec=replace(SPEC, session_id="s1", user_login_name=user, messages=messages))


def chat(*events: Event) -> dict[str, Any]:
    log: list[RecordedEvent] = []
    for number, each in enumerate(events, 1):
        stream = "run:r1" if isinstance(each, r.RunQueued | r.RunBound) else "session:s1"
        log += recorded(stream, [each], first_position=100 + number, first_seq=number)
    (row,) = CHATS.fold_all(log).values()
    assert CHATS.decode(CHATS.encode(row)) == row
    assert columns(row) == (row.position, row.project_name, row.user_login_name)
    shown: dict[str, Any] = as_json(view(row))
    return shown


def test_a_title_alone_makes_a_chat_of_whom_it_names() -> None:
    assert chat(TITLED) == {
        "chatId": "s1",
        "title": "Taxes",
        "appId": "app",
        "projectName": "default",
        "userLoginName": "tim",
        "updatedAt": at(1),
        "position": 101,
    }


@pytest.mark.parametrize(
    ("events", "user"),
    [
        ([TITLED, run("hi")], "rita"),
        ([run("hi"), TITLED], "rita"),
        ([run("hi"), run("again", user="eve")], "rita"),
        ([run("hi"), sessions.activation()], "ann"),
        ([sessions.activation(), run("hi")], "ann"),
        ([sessions.activation(), TITLED], "ann"),
        ([r.RunBound(bound_session_id="s1")], ""),
        ([r.RunBound(bound_session_id="s1"), TITLED], "tim"),
        ([r.RunBound(bound_session_id="s1", app_id="a", project_name="p", user_login_name="bo"), TITLED], "bo"),
    ],
)
def test_an_activation_says_whose_it_is_else_a_run_else_a_title(events: list[Event], user: str) -> None:
    assert chat(*events)["userLoginName"] == user


def test_without_a_title_it_is_called_by_the_first_thing_a_user_said() -> None:
    assert chat(sessions.activation())["title"] == ""
    assert chat(run(" ", " do  my\ntaxes "), run("thanks"))["title"] == "do my taxes"
    assert chat(run("x" * 500))["title"] == "x" * MAX_OPENING_CHARS + "…"
    assert chat(run("do my taxes"), TITLED)["title"] == "Taxes"


def test_it_is_as_new_as_what_was_last_said_named_or_ended() -> None:
    detached = s.SessionRunDetached(generation=1, detached_run_id="r1")
    assert chat(sessions.activation(), run("hi"), detached)["updatedAt"] == at(3)
    assert chat(sessions.activation(), run("hi"), sessions.ATTACHED)["updatedAt"] == at(2)
    assert chat(TITLED, sessions.activation())["updatedAt"] == at(1)

"""Callbacks in the older form: fields beside the type become the payload, and errors name what the client sent."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from application.turns import Turn
from interfaces.http.compatibility.flat_callbacks import with_timeout
from interfaces.http.resources.callbacks import NDJSON, SentCallbacks, decoded
from interfaces.http_conventions.problems import Problem
from tests.support.async_run import run

JSON = "application/json"


def taken(sent: Any, kind: str = JSON) -> SentCallbacks:
    text = "\n".join(map(json.dumps, sent)) if kind in NDJSON else json.dumps(sent)
    return run(decoded(bytearray(text.encode()), kind, Turn()))


def payload(**fields: Any) -> dict[str, Any]:
    sent = taken({"eventId": "e", **fields})
    assert sent.flat == {0}
    return sent.callbacks[0].payload


def refused(sent: Any, kind: str = JSON) -> str:
    with pytest.raises(Problem) as caught:
        taken(sent, kind)
    assert caught.value.status == 400
    return caught.value.errors[0].field


def test_what_stands_beside_the_type_is_the_payload() -> None:
    assert payload(type="message.delta", text="hi") == {"text": "hi"}
    todo = {"todoId": "t", "content": "eat", "status": "done", "order": 1}
    assert payload(type="todo.update", todo=todo)["todo"].items() >= {"todoId": "t", "status": "done"}.items()
    asked = {"questionId": "q", "prompt": "Why?", "metadata": {"screen": 3}}
    assert payload(type="human_loop.requested", **asked) == asked
    assert payload(type="human_loop.resolved", questionId="q", answer=None) == {"questionId": "q", "answer": None}


@pytest.mark.parametrize(
    ("status", "outcome"),
    [("succeeded", "succeeded"), ("finished", "succeeded"), ("error", "failed"), ("cancelled", "canceled")],
)
def test_a_status_is_the_outcome_of_a_run(status: str, outcome: str) -> None:
    usage = {"inputTokens": 5, "outputTokens": 1}
    assert payload(type="run.finished", status=status, usage=usage) == {"outcome": outcome, "usage": usage}


def test_a_warning_may_be_a_text() -> None:
    assert payload(type="run.warning", warning="slow", code="late") == {"warning": {"code": "late", "message": "slow"}}
    assert payload(type="run.warning", warning="slow")["warning"]["code"] == "reported"


def test_one_of_a_type_that_is_not_known_keeps_its_names() -> None:
    assert payload(type="step.done", status="completed", warning="slow") == {"status": "completed", "warning": "slow"}


def test_the_envelope_of_a_frame_is_ignored() -> None:
    envelope = {"runId": "r", "sessionId": "s", "provider": "p", "seq": 4, "position": 9, "ts": "now"}
    assert payload(type="message.delta", text="hi", **envelope) == {"text": "hi"}


def test_a_todo_is_dated_by_when_it_occurred() -> None:
    at = "2026-03-04T05:06:07+00:00"
    todo = {"todoId": "t", "content": "eat"}
    assert payload(type="todo.update", todo=todo, occurredAt=at)["todo"]["updatedAt"] == at
    own = todo | {"updatedAt": "2026-01-01T00:00:00Z"}
    assert payload(type="todo.update", todo=own, occurredAt=at)["todo"]["updatedAt"].startswith("2026-01-01")
    beside = taken({"eventId": "e", "type": "todo.update", "payload": {"todo": todo}, "occurredAt": at})
    assert (beside.flat, beside.callbacks[0].payload["todo"]["updatedAt"]) == (set(), at)


@pytest.mark.parametrize("kind", [JSON, NDJSON[0]])
def test_both_forms_may_come_together(kind: str) -> None:
    sent = taken(
        [
            {"eventId": "1", "type": "message.delta", "payload": {"text": "a"}},
            {"eventId": "2", "type": "message.delta", "text": "b"},
            {"eventId": "3", "type": "message.stop"},
        ],
        kind,
    )
    assert [each.payload for each in sent.callbacks] == [{"text": "a"}, {"text": "b"}, {}]
    assert (sent.flat, sent.single) == ({1}, False)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"type": "todo.update", "todo": {"todoId": "t"}}, "todo.content"),
        ({"type": "todo.update", "todo": {"todoId": "t", "content": "c", "status": "eaten"}}, "todo.status"),
        ({"type": "run.finished", "status": "eaten"}, "status"),
        ({"type": "run.finished", "status": "failed", "usage": {"inputTokens": "many"}}, "usage.inputTokens"),
        ({"type": "message.delta", "text": "a", "occurredAt": "yesterday"}, "occurredAt"),
        ({"type": "message.delta", "text": "a", "occurredAt": "2026-03-04T05:06:07"}, "occurredAt"),
        ({"type": "message.delta", "txet": "a"}, "txet"),
        ({"type": "message.delta", "payload": {"text": "a"}, "text": "a"}, "text"),
        ({"text": "a"}, "type"),
    ],
)
def test_an_error_names_the_field_as_it_was_sent(fields: dict[str, Any], field: str) -> None:
    assert refused({"eventId": "e", **fields}) == field
    good = {"eventId": "g", "type": "message.stop"}
    for kind in (JSON, NDJSON[0]):
        assert refused([good, {"eventId": "e", **fields}], kind) == f"[1].{field}"


def question(deadline: Any, **fields: Any) -> Any:
    asked = {"questionId": "q", "metadata": {"deadlineAt": deadline}, **fields}
    callback = taken({"eventId": "e", "type": "human_loop.requested", **asked}).callbacks[0]
    return with_timeout(callback, "").payload


def test_a_deadline_is_the_timeout_that_it_leaves() -> None:
    asked = question((datetime.now(UTC) + timedelta(hours=1)).isoformat())
    assert 3_000_000 < asked["timeoutMs"] <= 3_600_000
    assert question("2020-01-01T00:00:00Z")["timeoutMs"] == 0
    assert question("2020-01-01T00:00:00Z", timeoutMs=5)["timeoutMs"] == 5


@pytest.mark.parametrize("deadline", ["soon", 5, "2026-03-04T05:06:07", "9999-12-31T23:59:59Z"])
def test_a_deadline_that_is_none_is_refused_by_its_place(deadline: Any) -> None:
    with pytest.raises(Problem) as caught:
        question(deadline)
    assert caught.value.errors[0].field == "metadata.deadlineAt"

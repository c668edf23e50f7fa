"""Runs that are driven from outside, by callbacks alone."""

import json
from typing import Any

import pytest

from tests.support.fleetlog_server import FleetlogServer, new_id


@pytest.fixture
def run_id(shared_fleetlog: FleetlogServer) -> str:
    """An external run, tied to a running session."""
    run_id, session = new_id("outside"), new_id("session")
    shared_fleetlog.activate(session)
    shared_fleetlog.ok("POST", f"/api/runs/{run_id}/bind", json={"sessionId": session})
    return run_id


def send(server: FleetlogServer, run_id: str, event_id: str, kind: str, **payload: Any) -> Any:
    body = {"eventId": event_id, "type": kind, "payload": payload}
    return server.ok("POST", f"/api/runs/{run_id}/callbacks", json=body)


def test_callbacks_drive_a_run_from_todo_to_finish(shared_fleetlog: FleetlogServer, run_id: str) -> None:
    todo = {"todoId": "t", "content": "c", "status": "doing", "order": 1}
    actions = [
        send(shared_fleetlog, run_id, "1", "todo.update", todo=todo)["action"],
        send(shared_fleetlog, run_id, "2", "human_loop.requested", questionId="q", prompt="?")["action"],
        send(shared_fleetlog, run_id, "3", "human_loop.resolved", questionId="q", answer="a")["action"],
        send(shared_fleetlog, run_id, "4", "message.stop")["action"],
        send(shared_fleetlog, run_id, "5", "something.else", x=1)["action"],
        send(shared_fleetlog, run_id, "6", "run.finished", outcome="succeeded")["action"],
    ]

    assert actions == [
        "todo_upserted",
        "human_loop_requested",
        "human_loop_resolved",
        "message_stop_synced",
        "recorded",
        "run_finished",
    ]
    last = shared_fleetlog.history(run_id)[-1]
    assert (last["event"], last["data"]["outcome"], last["data"]["exported"]) == ("run.finished", "succeeded", True)


def test_an_external_run_holds_its_session_until_its_end_and_its_usage_is_the_session_s(
    shared_fleetlog: FleetlogServer, run_id: str
) -> None:
    server = shared_fleetlog
    session = server.ok("GET", f"/api/runs/{run_id}")["sessionId"]
    server.until_session(session, "session.run_attached")
    assert server.problem(409, "POST", f"/api/session-workers/{session}/stop")["reason"] == "run_attached"
    assert server.finished("echo beside it", sessionId=session)["snapshot"]["state"] == "succeeded"

    usage = {"inputTokens": 7, "outputTokens": 3, "costUsd": 0.5}
    send(server, run_id, "end", "run.finished", outcome="succeeded", usage=usage)

    server.history(run_id)
    assert server.ok("POST", f"/api/session-workers/{session}/stop")["worker"]["state"] == "stopped"
    settled = server.ok("GET", f"/api/runs/{run_id}/usage")
    assert (settled["appId"], settled["userLoginName"], settled["inputTokens"]) == ("app", "ada", 7)
    listed = server.ok("GET", "/api/runs", params={"sessionId": session, "userLoginName": "ada"})["items"]
    assert {each["outside"] for each in listed} == {True, False}


def test_a_repeated_callback_changes_nothing(shared_fleetlog: FleetlogServer, run_id: str) -> None:
    first = send(shared_fleetlog, run_id, "1", "message.delta", text="once")
    again = send(shared_fleetlog, run_id, "1", "message.delta", text="twice")

    assert (first["processed"], again["duplicate"], again["action"]) == (True, True, "duplicate_ignored")
    events = shared_fleetlog.ok("GET", f"/api/streams/run:{run_id}/events")["events"]
    assert [event["payload"].get("text") for event in events if event["type"] == "message.delta"] == ["once"]


def test_a_late_callback_is_kept_but_changes_no_state(shared_fleetlog: FleetlogServer, run_id: str) -> None:
    send(shared_fleetlog, run_id, "end", "run.finished", outcome="failed")
    shared_fleetlog.history(run_id)

    late = send(shared_fleetlog, run_id, "late", "message.delta", text="late")
    again = send(shared_fleetlog, run_id, "late", "message.delta", text="late")

    assert (late["action"], again["action"]) == ("recorded", "duplicate_ignored")
    kept = shared_fleetlog.ok("GET", f"/api/streams/unmatched:{run_id}/events")["events"]
    assert kept[0]["payload"]["reason"] == "late"
    assert shared_fleetlog.ok("GET", f"/api/runs/{run_id}")["state"] == "failed"


@pytest.mark.parametrize(
    ("kind", "action"),
    [
        ("message.stop", "message_stop_missing_run"),
        ("human_loop.requested", "human_loop_missing_run"),
        ("todo.update", "recorded"),
    ],
)
def test_a_callback_for_an_unknown_run_is_kept(shared_fleetlog: FleetlogServer, kind: str, action: str) -> None:
    payload: dict[str, Any] = {"questionId": "q"} if kind == "human_loop.requested" else {}
    if kind == "todo.update":
        payload = {"todo": {"todoId": "t", "content": "c"}}
    unknown = new_id("unknown")

    assert send(shared_fleetlog, unknown, "1", kind, **payload)["action"] == action
    kept = shared_fleetlog.ok("GET", f"/api/streams/unmatched:{unknown}/events")["events"]
    assert kept[0]["payload"]["callbackType"] == kind


def test_an_array_and_ndjson_are_taken_in_order(shared_fleetlog: FleetlogServer, run_id: str) -> None:
    array = [{"eventId": f"a{n}", "type": "message.delta", "payload": {"text": str(n)}} for n in range(3)]
    answers = shared_fleetlog.ok("POST", f"/api/runs/{run_id}/callbacks", json=array)
    more_of_them = [line | {"eventId": f"b{n}", "payload": {"text": f"n{n}"}} for n, line in enumerate(array)]
    ndjson = "\n".join(json.dumps(line) for line in more_of_them)
    more = shared_fleetlog.ok(
        "POST",
        f"/api/runs/{run_id}/callbacks",
        content=ndjson,
        headers={"content-type": "application/x-ndjson"},
    )

    assert [answer["processed"] for answer in answers + more] == [True] * 6
    events = shared_fleetlog.ok("GET", f"/api/streams/run:{run_id}/events")["events"]
    texts = [event["payload"]["text"] for event in events if event["type"] == "message.delta"]
    assert texts == ["0", "1", "2", "n0", "n1", "n2"]


def test_a_person_answers_the_question_of_an_external_run(shared_fleetlog: FleetlogServer, run_id: str) -> None:
    send(shared_fleetlog, run_id, "1", "human_loop.requested", questionId="q", prompt="?")

    reply = shared_fleetlog.ok(
        "POST", "/api/human-loop/reply", json={"runId": run_id, "questionId": "q", "answer": {"choice": 1}}
    )

    assert reply["status"] == "resolved"
    shared_fleetlog.ok("POST", f"/api/runs/{run_id}/stop")
    assert shared_fleetlog.history(run_id)[-1]["data"]["outcome"] == "canceled"

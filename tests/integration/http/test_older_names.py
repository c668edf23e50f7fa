"""What clients of the system before read and send, beside the API's own names."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from domain.run.events import RunFinished
from interfaces.http.compatibility import __file__ as room
from tests.architecture.test_repository import REPOSITORY
from tests.support.api_server import ApiServer
from tests.support.problems import fields
from tests.support.recorded import new_event

RUN = {"provider": "scripted", "messages": [{"role": "user", "content": "echo hi"}]}
TABLE = REPOSITORY / "docs/reference/compatibility.md"


def ok(answer: httpx.Response) -> Any:
    assert answer.is_success, answer.text
    return answer.json()


def position(client: httpx.Client) -> dict[str, int]:
    return {"minPosition": ok(client.get("/api/providers"))["asOfPosition"]}


@pytest.fixture
def run_id(client: httpx.Client) -> str:
    run_id = f"r-{uuid.uuid4().hex}"
    bound = ok(client.post(f"/api/runs/{run_id}/bind", json={"sessionId": f"s-{run_id}"}))
    assert bound["ok"] is True
    return run_id


def report(client: httpx.Client, run_id: str, *callbacks: dict[str, Any]) -> list[str]:
    sent = [{"eventId": uuid.uuid4().hex, **each} for each in callbacks]
    return [each["action"] for each in ok(client.post(f"/api/runs/{run_id}/callbacks", json=sent))]


def frames(response: httpx.Response) -> list[tuple[str, str, Any]]:
    found = []
    for block in response.text.split("\n\n")[:-1]:
        parts = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((parts.get("id", ""), parts["event"], json.loads(parts["data"])))
    return found


def test_a_run_is_reported_in_the_older_form_and_read_by_the_older_names(client: httpx.Client, run_id: str) -> None:
    deadline = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    at = "2026-03-04T05:06:07Z"
    todo = {"todoId": "t", "content": "eat", "status": "done", "order": 3}
    actions = report(
        client,
        run_id,
        {"type": "todo.update", "todo": todo, "occurredAt": at},
        {"type": "human_loop.requested", "questionId": "q", "prompt": "Why?",
         "metadata": {"screen": 3, "deadlineAt": deadline}},
        {"type": "message.delta", "text": "hi", "runId": run_id},
    )  # fmt: skip
    assert actions == ["todo_upserted", "human_loop_requested", "recorded"]

    todos = ok(client.get(f"/api/runs/{run_id}/todos", params={"limit": 10, **position(client)}))
    assert todos["items"] == [todo | {"updatedAt": at}]
    (change,) = ok(client.get(f"/api/runs/{run_id}/todos/events", params={"limit": 10}))["events"]
    assert change.items() >= {"status": "done", "content": "eat", "todoId": "t", "eventTs": change["ts"]}.items()
    assert change["eventId"].startswith("cb/")
    assert change["todo"]["todoId"] == "t"

    for path in ("pending", "requests"):
        query: dict[str, Any] = {"runId": run_id, "status": "pending", "limit": 5, **position(client)}
        (question,) = ok(client.get(f"/api/human-loop/{path}", params=query))["requests"]
        assert question["metadata"] == {"screen": 3, "deadlineAt": deadline}
        left = datetime.fromisoformat(question["expiresAt"]) - datetime.fromisoformat(deadline)
        assert abs(left) < timedelta(minutes=5)
        assert question["status"] == "open"
    everything: dict[str, Any] = {"runId": run_id, "status": "", "limit": 5}
    assert ok(client.get("/api/human-loop/requests", params=everything))["total"] == 1
    assert ok(client.get("/api/human-loop/requests", params=everything | {"status": "expired"}))["total"] == 0

    usage = {"inputTokens": 5, "outputTokens": 1}
    assert report(client, run_id, {"type": "run.finished", "status": "finished", "usage": usage}) == ["run_finished"]
    shown = ok(client.get(f"/api/runs/{run_id}", params=position(client)))
    assert shown["status"] == shown["state"]
    assert shown["usage"]["inputTokens"] == 5
    assert "endedAt" in shown


def test_an_error_of_a_flat_callback_names_what_was_sent(client: httpx.Client, run_id: str) -> None:
    def refused(**callback: Any) -> list[str]:
        body = [{"eventId": "1", "type": "message.stop"}, {"eventId": "2", **callback}]
        return fields(client.post(f"/api/runs/{run_id}/callbacks", json=body))

    assert refused(type="todo.update", todo={"todoId": "t"}) == ["[1].todo.content"]
    assert refused(type="todo.update", text="x") == ["[1].todo"]
    assert refused(type="run.finished", status="eaten") == ["[1].status"]
    assert refused(type="human_loop.requested", questionId="q", metadata={"deadlineAt": "soon"}) == [
        "[1].metadata.deadlineAt"
    ]
    assert refused(type="human_loop.requested", payload={"questionId": "q", "metadata": {"deadlineAt": 1}}) == [
        "[1].payload.metadata.deadlineAt"
    ]
    assert refused(type="human_loop.requested", questionId="q", timeoutMs=-1) == ["[1].timeoutMs"]
    assert refused(type="message.delta", text="x", answer=2**70) == ["[1]"]
    assert refused(type="run.finished", status="finished", usage={"inputTokens": -1}) == ["[1].usage.inputTokens"]
    assert refused(type="run.finished", payload={"outcome": "failed", "usage": {"costUsd": 1e308}}) == [
        "[1].payload.usage.costUsd"
    ]


def test_a_question_has_its_deadline_even_if_its_asker_names_none(client: httpx.Client, run_id: str) -> None:
    report(client, run_id, {"type": "human_loop.requested", "questionId": "q", "metadata": {"deadlineAt": None}})
    query: dict[str, Any] = {"runId": run_id, **position(client)}
    (question,) = ok(client.get("/api/human-loop/pending", params=query))["requests"]
    assert question["metadata"]["deadlineAt"] == question["expiresAt"]


def test_an_ended_run_and_a_list_have_both_names(client: httpx.Client) -> None:
    run_id = ok(client.post("/api/runs/queue/enqueue", json=RUN))["runId"]
    assert ok(client.post(f"/api/runs/{run_id}/stop"))["ok"] is True
    session = f"run-{run_id}"
    (listed,) = ok(client.get("/api/runs", params={"sessionId": session, **position(client)}))["items"]
    started = ok(client.post("/api/runs/start", json=RUN | {"runId": run_id}))["snapshot"]
    for shown in (listed, started, ok(client.get(f"/api/runs/{run_id}"))):
        assert shown["status"] == shown["state"] == "canceled"
        assert shown["endedAt"] == shown["finishedAt"]


def test_a_worker_a_plan_and_a_provider(client: httpx.Client) -> None:
    session, who = f"s-{uuid.uuid4().hex}", {"appId": "app", "userLoginName": "ann"}
    ok(client.post(f"/api/session-workers/{session}/activate", json=who, params={"waitMs": 0}))
    worker = ok(client.get(f"/api/session-workers/{session}", params=position(client)))
    assert worker["workspaceS3Prefix"] == worker["workspacePrefix"]
    (listed, *_) = ok(client.get("/api/session-workers", params={"userLoginName": "ann", "limit": 1}))["items"]
    assert listed["workspaceS3Prefix"] == listed["workspacePrefix"]
    plan = ok(client.post("/api/runs/restore-plan", json=who | {"sessionId": session}))["plan"]
    assert plan["conflictPolicy"] == "keep_session"
    for provider in ok(client.get("/api/providers"))["providers"]:
        assert provider["readinessCategory"] == provider["readiness"]


def test_a_start_says_at_once_that_it_is_accepted_with_a_cursor_that_misses_nothing(client: httpx.Client) -> None:
    run_id = ok(client.post("/api/runs/queue/enqueue", json=RUN | {"tools": {"bash": True}}))["runId"]
    ok(client.post(f"/api/runs/{run_id}/stop"))
    body = RUN | {"runId": run_id, "tools": ["bash"]}
    started = client.post("/api/runs/start", json=body, headers={"accept": "text/event-stream"})
    (cursor, name, data), *rest = frames(started)
    assert (cursor, name, data["status"], data["runId"]) == ("0", "run.status", "accepted", run_id)
    assert data["provider"] == "scripted"
    for resume in ({"params": {"cursor": cursor}}, {"headers": {"last-event-id": cursor}}):
        assert frames(client.get(f"/api/runs/{run_id}/stream", **resume)) == rest  # type: ignore[arg-type]
    end = [each for each, *_ in rest if each][-1]
    assert client.get(f"/api/runs/{run_id}/stream", headers={"last-event-id": end}).status_code == 204
    closing = frames(client.get(f"/api/runs/{run_id}/stream", params={"cursor": end}))
    assert [name for _, name, _ in closing] == ["run.status", "caught-up", "run.closed"]


def test_a_start_that_is_sent_again_with_the_last_id_does_not_lead_back_to_the_begin(client: httpx.Client) -> None:
    run_id = ok(client.post("/api/runs/queue/enqueue", json=RUN))["runId"]
    ok(client.post(f"/api/runs/{run_id}/stop"))
    headers = {"accept": "text/event-stream", "last-event-id": "1"}
    resumed = frames(client.post("/api/runs/start", json=RUN | {"runId": run_id}, headers=headers))
    assert resumed == frames(client.get(f"/api/runs/{run_id}/stream", params={"cursor": 1}))
    assert resumed[0][0] == "2"


def test_the_frames_of_a_stream_have_the_older_forms(api: ApiServer, client: httpx.Client, run_id: str) -> None:
    snapshot = {"todos": [{"todoId": "a", "content": "eat"}, {"todoId": "b", "content": "sleep"}]}
    report(
        client,
        run_id,
        {"type": "todo.update", "payload": {"todo": {"todoId": "a", "content": "eat"}}},
        {"type": "todo.snapshot", "payload": snapshot},
        {"type": "run.warning", "warning": "slow", "code": "late"},
    )
    stream = f"run:{run_id}"
    over = new_event(RunFinished(outcome="canceled", exported=False), f"{run_id}/end")
    api.run(api.deps.store.append(stream, api.run(api.deps.store.last_seq(stream)), [over]))
    for query in ({}, {"replay": True, "speed": 0}):
        plain = frames(client.get(f"/api/runs/{run_id}/stream", params=query))
        by_name = {name: data for _, name, data in plain}
        assert by_name["todo.update"]["todo"].items() >= {"status": "todo", "order": 0}.items()
        assert by_name["run.warning"].items() >= {"warning": "slow", "code": "late"}.items()
        compat = frames(client.get(f"/api/runs/{run_id}/stream", params={**query, "compat": 1}))
        derived = [(data["todo"]["todoId"], data["todo"]["status"]) for id_, name, data in compat
                   if name == "todo.update" and not id_]  # fmt: skip
        assert derived == [("a", "todo"), ("b", "todo")]
        assert [each for each in compat if each[0]] == [each for each in plain if each[0]]


def test_tools_that_are_only_turned_off_are_refused(client: httpx.Client) -> None:
    assert fields(client.post("/api/runs/queue/enqueue", json=RUN | {"tools": {"bash": False}})) == ["tools"]


def test_the_table_names_every_module_that_translates() -> None:
    table = TABLE.read_text(encoding="utf-8")
    modules = {path.name for path in REPOSITORY.joinpath(room).parent.glob("*.py")} - {"__init__.py"}
    assert {module for module in modules if f"interfaces/http/compatibility/{module}" not in table} == set()

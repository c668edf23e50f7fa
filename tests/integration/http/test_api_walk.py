"""The API in its normal course: an external run from its bind to its end, and what every read says of it."""

import json
import uuid

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.support.api_server import ApiServer


def _id() -> str:
    return uuid.uuid4().hex[:12]


def _callback(client: httpx.Client, run_id: str, kind: str, payload: dict, event_id: str | None = None) -> dict:
    body = {"eventId": event_id or _id(), "type": kind, "payload": payload}
    response = client.post(f"/api/runs/{run_id}/callbacks", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def test_an_external_run_is_told_by_callbacks_and_read_back(client: httpx.Client) -> None:
    run_id, session_id = f"r-{_id()}", f"s-{_id()}"
    bound = client.post(f"/api/runs/{run_id}/bind", json={"sessionId": session_id})
    assert bound.status_code == 200, bound.text
    assert bound.json()["state"] == "running"

    assert _callback(client, run_id, "message.delta", {"text": "hi \u0000 there"})["action"] == "recorded"
    assert _callback(client, run_id, "message.stop", {}, "m1")["action"] == "message_stop_synced"
    again = _callback(client, run_id, "message.stop", {}, "m1")
    assert again["action"] == "duplicate_ignored"
    assert again["duplicate"] is True
    assert (
        _callback(client, run_id, "todo.update", {"todo": {"todoId": "a", "content": "x"}})["action"] == "todo_upserted"
    )
    asked = _callback(client, run_id, "human_loop.requested", {"questionId": "q1", "prompt": "Sure?"})
    assert asked["action"] == "human_loop_requested"

    position = asked["position"]
    run = client.get(f"/api/runs/{run_id}", params={"minPosition": position})
    assert run.status_code == 200, run.text
    assert run.json()["state"] == "waiting_human"
    assert run.json()["asOfPosition"] >= position
    todos = client.get(f"/api/runs/{run_id}/todos", params={"minPosition": position}).json()
    assert todos["total"] == 1
    assert todos["items"][0]["todoId"] == "a"
    assert client.get(f"/api/runs/{run_id}/todos/events", params={"minPosition": position}).json()["total"] == 1
    pending = client.get("/api/human-loop/pending", params={"runId": run_id, "minPosition": position}).json()
    assert [request["questionId"] for request in pending["requests"]] == ["q1"]

    reply = {"runId": run_id, "questionId": "q1", "answer": {"yes": True}}
    answered = client.post("/api/human-loop/reply", json=reply)
    told = {"ok": True, "duplicate": False, "status": "resolved", "answer": {"yes": True}}
    assert answered.json() == told | {"position": answered.json()["position"]}
    assert client.post("/api/human-loop/reply", json=reply).json()["duplicate"] is True
    late = client.post("/api/human-loop/reply", json=reply | {"questionId": "nobody-asked"})
    assert late.status_code == 404

    ended = _callback(client, run_id, "run.finished", {"outcome": "succeeded", "usage": {"inputTokens": 5}})
    assert ended["action"] == "run_finished"
    then = client.get(f"/api/runs/{run_id}", params={"atSeq": 2}).json()
    assert then["state"] == "running"
    assert then["seq"] == 2
    events = client.get(f"/api/streams/run:{run_id}/events").json()["events"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert "hi \u0000 there" in events[1]["payload"]["text"]
    filtered = client.get("/api/events", params={"stream": f"run:{run_id}", "type": "message.stop"}).json()
    assert [event["type"] for event in filtered["events"]] == ["message.stop"]
    assert filtered["events"][0] == next(event for event in events if event["type"] == "message.stop")


def test_a_queued_run_streams_until_it_is_canceled(api: ApiServer, client: httpx.Client) -> None:
    body = {"provider": "scripted", "messages": [{"role": "user", "content": "echo hi"}], "userLoginName": "ann"}
    queued = client.post("/api/runs/queue/enqueue", json=body)
    assert queued.status_code == 202, queued.text
    run_id = queued.json()["runId"]
    assert queued.json()["sessionId"] == f"run-{run_id}"
    waited = client.post("/api/runs/start", json=body | {"runId": run_id}, params={"waitMs": 10})
    assert waited.status_code == 202
    assert waited.json()["pending"] is True
    other = client.post("/api/runs/start", json=body | {"runId": run_id, "model": "other"})
    assert other.status_code == 409
    assert other.json()["reason"] == "identity_conflict"

    stopped = client.post(f"/api/runs/{run_id}/stop")
    assert stopped.json()["state"] == "canceled"
    assert client.post(f"/api/runs/{run_id}/stop").json()["changed"] is False
    with client.stream(
        "POST", "/api/runs/start", json=body | {"runId": run_id}, headers={"accept": "text/event-stream"}
    ) as response:
        assert response.status_code == 200
        text = response.read().decode()
    assert "event: run.finished" in text
    assert text.rstrip().splitlines()[-1].startswith("data: ")
    finished = client.post("/api/runs/start", json=body | {"runId": run_id})
    assert finished.status_code == 200, finished.text
    assert finished.json()["snapshot"]["state"] == "canceled"
    assert [event["type"] for event in finished.json()["events"]] == [
        "run.queued",
        "run.cancel_requested",
        "run.finished",
    ]
    seq = finished.json()["snapshot"]["seq"]
    assert client.get(f"/api/runs/{run_id}/stream", headers={"last-event-id": str(seq)}).status_code == 204
    beyond = client.get(f"/api/runs/{run_id}/stream", headers={"last-event-id": str(seq + 1)})
    assert beyond.status_code == 400
    assert beyond.json()["errors"][0]["field"] == "Last-Event-ID"


@pytest.mark.parametrize("path", ["/api/runs/start", "/api/runs/queue/enqueue"])
def test_a_high_priority_is_refused_by_name_unless_a_setting_allows_it(client: httpx.Client, path: str) -> None:
    body = {"provider": "scripted", "messages": [{"role": "user", "content": "echo hi"}]}
    refused = client.post(path, json=body | {"priority": "high"})
    assert (refused.status_code, refused.json()["reason"]) == (403, "high_priority_not_allowed")
    assert "priority: high" in refused.json()["detail"]
    assert "ALLOW_HIGH_PRIORITY" in refused.json()["detail"]
    allowed = client.post("/api/runs/queue/enqueue", json=body | {"priority": "low"})
    assert allowed.status_code == 202, allowed.text
    events = client.get(f"/api/streams/run:{allowed.json()['runId']}/events").json()["events"]
    assert events[0]["payload"]["spec"]["priority"] == "low"


def test_an_activation_without_workers_stays_pending_and_is_readable(client: httpx.Client) -> None:
    session_id = f"s-{_id()}"
    body = {"appId": "shop", "userLoginName": "ann", "manifest": {
        "appId": "shop", "runtimeVersion": "1", "workspaceTemplatePrefix": "templates/shop",
        "requiredPaths": ["/workspace/src"]}}  # fmt: skip
    answer = client.post(f"/api/session-workers/{session_id}/activate", json=body, params={"waitMs": 0})
    assert answer.status_code == 202, answer.text
    position = answer.json()["position"]
    worker = client.get(f"/api/session-workers/{session_id}", params={"minPosition": position}).json()
    assert worker["phase"] == "activating"
    assert worker["projectName"] == "default"
    listed = client.get("/api/session-workers", params={"appId": "shop", "minPosition": position}).json()
    assert session_id in [item["sessionId"] for item in listed["items"]]
    other = client.post(f"/api/session-workers/{session_id}/activate", json=body | {"userLoginName": "bob"})
    assert other.status_code == 409
    plan = client.post("/api/runs/restore-plan", json=body | {"sessionId": session_id, "existingPaths": []})
    assert plan.status_code == 422
    assert plan.json()["missingRequiredPaths"] == ["/workspace/src"]
    assert plan.json()["ok"] is False
    assert client.post("/api/runs/restore-plan", json=body | {"sessionId": session_id}).json()["ok"] is True


def _open_metrics(client: httpx.Client) -> dict[str, list[Sample]]:
    """The samples of each family, in the format that a scraper may ask for; the parser refuses what is not valid."""
    scraped = client.get("/metrics", headers={"accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"})
    assert scraped.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    return {family.name: family.samples for family in text_string_to_metric_families(scraped.text)}


def test_pages_probes_and_small_reads(client: httpx.Client) -> None:
    assert client.get("/health").json() == {"status": "ok"}
    ready = client.get("/ready")
    assert ready.status_code == 200, ready.text
    assert ready.json()["dependencies"][0]["detail"].startswith("Postgres")
    metrics = client.get("/metrics").text
    assert 'fleetlog_http_requests_total{method="GET",route="/health",status="200"}' in metrics
    assert 'fleetlog_queue_depth{state="queued"} 3.0' in metrics
    by_name = _open_metrics(client)
    (count,) = [each for each in by_name["fleetlog_http_request_seconds"] if each.exemplar is not None][:1]
    assert len(count.exemplar.labels["trace_id"]) == 32
    assert {"fleetlog_queue_depth", "fleetlog_http_requests"} <= by_name.keys()
    assert client.get("/docs").status_code == 200
    assert client.get("/openapi.json").json()["openapi"] == "3.1.0"
    providers = {provider["provider"]: provider for provider in client.get("/api/providers").json()["providers"]}
    assert providers["scripted"]["readiness"] == "ready"
    assert client.get("/api/usage", params={"groupBy": ["appId", "day"]}).status_code == 200
    assert client.post("/api/reconcile/runs").json()["examined"] == 1
    assert client.post("/api/session-workers/cleanup/idle", json={"idleTimeoutMs": 0, "limit": 5}).json()["total"] == 0
    assert client.post("/api/runs/queue/drain", json={"limit": 2}).json()["claimed"] == 0
    blocked = client.post(
        "/api/runs/start",
        json={"provider": "scripted", "messages": [{"role": "user", "content": "x"}], "requireHumanLoop": True},
    )
    assert blocked.status_code == 409
    assert json.loads(blocked.text)["reason"] == "blocked"

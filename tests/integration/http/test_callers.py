"""Who may call, as whom, and what a trace is."""

import hashlib
import uuid
from collections.abc import Iterator

import httpx
import pytest

from domain.identifiers import worker_token
from interfaces.http.edge.endpoint import Endpoint
from interfaces.http.routes import ENDPOINTS
from tests.support.api_server import KEY, KEYS, SECRET, ApiServer, running_api
from tests.support.problems import fields, path_of, problem, shown
from tests.support.servers import PostgresServer

BEARER = {"authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def guarded(postgres_server: PostgresServer) -> Iterator[ApiServer]:
    dsn = postgres_server.create_log()
    with running_api(dsn, api_keys=KEYS) as server:
        yield server
    postgres_server.drop_database(dsn)


@pytest.fixture(scope="module")
def stranger(guarded: ApiServer) -> Iterator[httpx.Client]:
    with guarded.client() as client:
        yield client


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=shown)
def test_every_route_but_the_probes_wants_a_key(stranger: httpx.Client, endpoint: Endpoint) -> None:
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {KEY}"}, {"x-actor": "ann"}):
        response = stranger.request(endpoint.method, path_of(endpoint), headers=headers)
        if endpoint.path in {"/health", "/ready"}:
            assert response.status_code == 200
        else:
            problem(response, 401)
            assert response.headers["www-authenticate"].startswith("Bearer")


def test_readiness_tells_strangers_no_details(stranger: httpx.Client) -> None:
    assert [state["detail"] for state in stranger.get("/ready").json()["dependencies"]] == [""]
    known = stranger.get("/ready", headers=BEARER).json()["dependencies"]
    assert known[0]["detail"].startswith("Postgres")


def _actors(client: httpx.Client, stream: str, headers: dict[str, str]) -> list[str]:
    events = client.get(f"/api/streams/{stream}/events", headers=headers).json()["events"]
    return [event["metadata"]["actor"] for event in events]


def test_the_keys_name_is_the_actor(stranger: httpx.Client) -> None:
    run_id = f"r-{uuid.uuid4().hex}"
    assert stranger.post(f"/api/runs/{run_id}/bind", json={"sessionId": "s"}, headers=BEARER).status_code == 200
    on_behalf = BEARER | {"x-actor": "carol@example.com"}
    assert stranger.post(f"/api/runs/{run_id}/stop", headers=on_behalf).status_code == 200
    assert _actors(stranger, f"run:{run_id}", BEARER)[:2] == ["ann", "ann/carol@example.com"]
    queued = stranger.post(
        "/api/runs/queue/enqueue",
        json={"provider": "scripted", "messages": [{"role": "user", "content": "x"}]},
        headers=on_behalf,
    ).json()
    spec = stranger.get(f"/api/streams/run:{queued['runId']}/events", headers=BEARER).json()["events"][0]
    assert spec["payload"]["spec"]["userLoginName"] == "ann:carol@example.com"


def test_a_workers_token_opens_the_callbacks_of_its_own_session_alone(stranger: httpx.Client) -> None:
    session_id, run_id = f"s-{uuid.uuid4().hex}", f"r-{uuid.uuid4().hex}"
    body = {"appId": "shop", "userLoginName": "ann"}
    activated = stranger.post(f"/api/session-workers/{session_id}/activate?waitMs=0", json=body, headers=BEARER)
    assert activated.status_code == 202
    assert stranger.post(f"/api/runs/{run_id}/bind", json={"sessionId": session_id}, headers=BEARER).is_success
    callback = {"eventId": "e", "type": "message.stop"}
    path = f"/api/runs/{run_id}/callbacks"

    def token(session: str, generation: int, purpose: str) -> dict[str, str]:
        return {"authorization": f"Bearer {worker_token(SECRET, session, generation, purpose)}"}

    for wrong in (token(session_id, 2, "callback"), token("other", 1, "callback"), token(session_id, 1, "executor")):
        problem(stranger.post(path, json=callback, headers=wrong), 401)
    right = token(session_id, 1, "callback")
    assert stranger.post(path, json=callback, headers=right).json()["action"] == "message_stop_synced"
    assert _actors(stranger, f"run:{run_id}", BEARER)[-1] == f"worker/{session_id}"
    problem(stranger.post("/api/runs/another/callbacks", json=callback, headers=right), 401)
    problem(stranger.get(f"/api/runs/{run_id}", headers=right), 401)


def test_a_workers_token_answers_no_question_of_a_person(stranger: httpx.Client) -> None:
    session_id, run_id = f"s-{uuid.uuid4().hex}", f"r-{uuid.uuid4().hex}"
    body = {"appId": "shop", "userLoginName": "ann"}
    stranger.post(f"/api/session-workers/{session_id}/activate?waitMs=0", json=body, headers=BEARER)
    assert stranger.post(f"/api/runs/{run_id}/bind", json={"sessionId": session_id}, headers=BEARER).is_success
    path = f"/api/runs/{run_id}/callbacks"
    token = {"authorization": f"Bearer {worker_token(SECRET, session_id, 1, 'callback')}"}
    asked = {"eventId": "q", "type": "human_loop.requested", "payload": {"questionId": "q", "prompt": "Delete all?"}}
    answered = {"eventId": "a", "type": "human_loop.resolved", "payload": {"questionId": "q", "answer": "yes"}}
    assert stranger.post(path, json=asked, headers=token).json()["action"] == "human_loop_requested"

    refused = problem(stranger.post(path, json=answered, headers=token), 403)
    assert (refused["reason"], refused["errors"][0]["field"]) == ("answer_by_worker", "type")
    assert fields(stranger.post(path, json=[asked | {"eventId": "q2"}, answered], headers=token), 403) == ["[1].type"]

    events = stranger.get(f"/api/streams/run:{run_id}/events", headers=BEARER).json()["events"]
    assert [event["type"] for event in events] == ["run.bound", "human_loop.requested"]
    assert stranger.post(path, json=answered, headers=BEARER).json()["action"] == "human_loop_resolved"


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"host": "evil.example"},
        {"host": "evil.example:8080"},
        {"host": "127.0.0.1.evil.example"},
        {"origin": "http://127.0.0.1:1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"forwarded": "for=192.0.2.60;proto=https"},
        {"x-forwarded-for": "192.0.2.60"},
        {"x-forwarded-host": "fleetlog.example"},
    ],
)
def test_without_keys_other_origins_and_proxies_are_refused(client: httpx.Client, headers: dict[str, str]) -> None:
    problem(client.post("/api/runs/x/bind", json={"sessionId": "s"}, headers=headers), 403)
    problem(client.get("/api/runs", headers=headers), 403)
    assert client.get("/health", headers=headers).status_code == 200
    assert {state["detail"] for state in client.get("/ready", headers=headers).json()["dependencies"]} == {""}


def test_with_a_key_a_proxy_and_another_origin_are_served(stranger: httpx.Client) -> None:
    passed_on = BEARER | {"x-forwarded-for": "192.0.2.60", "sec-fetch-site": "cross-site", "user-agent": "Mozilla/5.0"}
    assert stranger.get("/api/runs", headers=passed_on).status_code == 200
    assert stranger.get("/api/audit/verify", headers=passed_on).status_code == 200


@pytest.mark.parametrize("endpoint", [each for each in ENDPOINTS if each.costly], ids=shown)
def test_without_keys_no_page_can_have_an_old_browser_ask_for_what_costs_much(
    client: httpx.Client, endpoint: Endpoint
) -> None:
    path, browser = path_of(endpoint, position="1"), {"user-agent": "Mozilla/5.0 (an old one)"}
    assert "Sec-Fetch-Site" in problem(client.get(path, headers=browser), 403)["detail"]
    assert client.get(path, headers=browser | {"sec-fetch-site": "same-origin"}).status_code != 403
    assert client.get(path, headers={"user-agent": "curl/8"}).status_code != 403


def test_without_keys_the_servers_own_pages_are_served(api: ApiServer, client: httpx.Client) -> None:
    assert client.get("/api/runs", headers={"origin": api.url}).status_code == 200
    port = api.url.rsplit(":", 1)[1]
    assert client.get("/api/runs", headers={"host": f"localhost:{port}"}).status_code == 200
    assert client.get("/api/runs", headers={"host": f"[::1]:{port}"}).status_code == 200


def test_the_trace_of_the_caller_goes_on(client: httpx.Client) -> None:
    run_id, trace = f"r-{uuid.uuid4().hex}", "4bf92f3577b34da6a3ce929d0e0e4736"
    parent = f"00-{trace}-00f067aa0ba902b7-01"
    answer = client.post(f"/api/runs/{run_id}/bind", json={"sessionId": "s"}, headers={"traceparent": parent})
    assert answer.headers["x-trace-id"] == trace
    assert answer.headers["traceparent"].startswith(f"00-{trace}-")
    assert answer.headers["traceparent"] != parent
    own = client.post(f"/api/runs/{run_id}/stop", headers={"x-trace-id": "my-trace.1"})
    assert own.headers["x-trace-id"] == "my-trace.1"
    assert own.headers["traceparent"].split("-")[1] == hashlib.sha256(b"my-trace.1").hexdigest()[:32]
    events = client.get(f"/api/streams/run:{run_id}/events").json()["events"]
    assert [event["metadata"]["traceId"] for event in events][:2] == [trace, "my-trace.1"]
    assert [event["metadata"]["correlationId"] for event in events][:2] == [trace, "my-trace.1"]
    found = client.get("/api/events", params={"correlationId": trace}).json()["events"]
    assert [event["stream"] for event in found] == [f"run:{run_id}"]


@pytest.mark.parametrize(
    "value", ["", "nonsense", "00-" + "0" * 32 + "-00f067aa0ba902b7-01", "ff-" + "a" * 32 + "-00f067aa0ba902b7-01"]
)
def test_a_trace_that_is_none_is_replaced(client: httpx.Client, value: str) -> None:
    trace = client.get("/health", headers={"traceparent": value, "x-trace-id": "a b"}).headers["x-trace-id"]
    assert len(trace) == 32
    assert trace not in value

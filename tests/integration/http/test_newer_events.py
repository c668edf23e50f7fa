"""While a deploy is under way an old process meets events that only the new one can read: it says so, with a 503."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from interfaces.http.edge.endpoint import Endpoint
from interfaces.http.routes import ENDPOINTS
from tests.support.api_server import ApiServer, running_api
from tests.support.fleetlog_parts import as_url
from tests.support.fleetlog_server import REPOSITORY, inherited_environment
from tests.support.mixed_history import append_all, mixed_history
from tests.support.raw_append import append_raw
from tests.support.servers import PostgresServer

KNOWN = "run.finished"
BODIES: dict[str, Any] = {
    "/api/runs/start": {
        "runId": "run-0", "sessionId": "session-0", "appId": "a", "userLoginName": "u", "provider": "scripted",
        "model": "m", "messages": [{"role": "user", "content": "echo"}],
    },
    "/api/session-workers/{sessionId}/activate": {
        "appId": "app-0", "projectName": "project-0", "userLoginName": "user-0",
    },
    "/api/session-workers/{sessionId}/restore": {"syncPosition": 1},
    "/api/runs/{runId}/bind": {"sessionId": "session-0"},
    "/api/runs/{runId}/callbacks": {"eventId": "e", "type": "message.stop", "payload": {}},
    "/api/runs/{runId}/fork": {"atSeq": 2},
    "/api/runs/{runId}/bisect": {"where": 'state == "failed"'},
    "/api/session-workers/{sessionId}/bisect": {"where": 'state == "failed"'},
    "/api/human-loop/reply": {"runId": "run-0", "questionId": "q-0", "answer": "a"},
    "/api/process-managers/{managerName}/skip": {"position": 1},
}  # fmt: skip
BODIES["/api/runs/queue/enqueue"] = BODIES["/api/runs/start"]


@pytest.fixture(scope="module", params=[("test.teleported", 1), (KNOWN, 99)], ids=["unknown name", "newer version"])
def old(request: pytest.FixtureRequest, postgres_server: PostgresServer) -> Iterator[ApiServer]:
    """The server of a run, a session and the streams of operations, to each of which newer code has appended."""
    dsn = postgres_server.create_log()
    with running_api(dsn) as server:
        store: Any = server.deps.store
        ends: dict[str, int] = {}
        server.run(append_all(store, mixed_history(sessions=1, runs_each=1), ends))
        newer = (*request.param, b"{}", datetime.now(UTC))
        begun = {"run:run-begun": 0, "queue:runs": 0, "effects:dead_letters": 0, "process_manager:run_life": 0}
        for stream, seq in {**ends, **begun}.items():
            server.run(append_raw(store, stream, seq, [newer]))
        yield server
    postgres_server.drop_database(dsn)


@pytest.fixture
def client(old: ApiServer) -> Iterator[httpx.Client]:
    with old.client() as client:
        yield client


def assert_says_so(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert int(answer.headers["retry-after"]) >= 1
    problem = answer.json()
    assert (problem["type"], problem["reason"]) == ("urn:fleetlog:problem:unavailable", "written_by_newer_version")
    assert "test.teleported" in problem["detail"] or f"{KNOWN} has schema version 99" in problem["detail"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/streams/run:run-0/events?limit=500"),
        ("GET", "/api/streams/queue:runs/events"),
        ("GET", "/api/runs/run-0/diff?from=1"),
        ("GET", "/api/runs/run-begun/stream"),
        ("GET", "/api/runs/run-begun/stream?replay=true"),
        ("GET", "/api/session-workers/session-0/diff?from=1"),
        ("GET", "/api/queue"),
        ("POST", "/api/queue/pause"),
        ("POST", "/api/process-managers/run_life/retry"),
        ("POST", "/api/runs/run-0/stop"),
        ("POST", "/api/session-workers/session-0/sync"),
        ("POST", "/api/session-workers/session-0/stop"),
        ("POST", "/api/session-workers/session-0/activate"),
        ("POST", "/api/runs/run-0/bisect"),
        ("POST", "/api/runs/run-0/callbacks"),
        ("POST", "/api/runs/start"),
        ("POST", "/api/human-loop/reply"),
    ],
)
def test_whoever_needs_such_an_event_is_asked_to_come_back(client: httpx.Client, method: str, path: str) -> None:
    assert_says_so(client.request(method, path, json=body_of(method, path)))


def test_a_read_of_the_past_that_needs_one_is_asked_to_come_back(client: httpx.Client, old: ApiServer) -> None:
    end = old.last_position()
    seq = old.run(old.deps.store.last_seq("run:run-0"))

    answers = [
        client.get("/api/runs/run-0", params={"atSeq": seq}),
        client.get("/api/runs/run-0", params={"atPosition": end}),
        client.get("/api/runs", params={"atPosition": end}),
    ]

    for answer in answers:
        if is_newer_version(old):
            assert_says_so(answer)
        else:  # no read model folds an event that this code has never heard of
            assert answer.status_code == 200, answer.text


def is_newer_version(server: ApiServer) -> bool:
    with server.client() as client:
        newest = client.get("/api/events", params={"after": server.last_position() - 1}).json()["events"]
    return bool(newest[0]["type"] == KNOWN)


def test_the_log_itself_is_shown_as_it_is_stored(client: httpx.Client, old: ApiServer) -> None:
    events = client.get("/api/events", params={"after": old.last_position() - 1}).json()["events"]
    assert [event["payload"] for event in events] == [{}]


def test_a_command_is_not_remembered_as_refused(client: httpx.Client) -> None:
    for _ in range(2):
        answer = client.post("/api/runs/run-0/stop", headers={"idempotency-key": "while-a-deploy-is-under-way"})
        assert_says_so(answer)
        assert "idempotent-replay" not in answer.headers


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda each: f"{each.method} {each.path}")
def test_no_endpoint_takes_it_for_its_own_failure(client: httpx.Client, endpoint: Endpoint) -> None:
    path = endpoint.path.format(
        runId="run-0",
        sessionId="session-0",
        chatId="session-0",
        streamId="run:run-0",
        managerName="run_life",
        effectKey="e",
        position="1",
    )
    with client.stream(endpoint.method, path, json=body_of(endpoint.method, endpoint.path), timeout=30) as answer:
        assert answer.status_code != 500, answer.read()


def body_of(method: str, path: str) -> Any:
    """What the endpoint asks for; `path` may have its ids filled in."""
    if method == "GET":
        return None
    template = path.replace("session-0", "{sessionId}").replace("run-0", "{runId}").replace("run_life", "{managerName}")
    return BODIES.get(template, {})


def test_the_command_line_says_so_too(old: ApiServer, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "interfaces.cli.main", "process-managers", "retry", "run_life"],
        cwd=REPOSITORY,
        env=inherited_environment()
        | {"DATABASE_URL": as_url(old.dsn), "FLEETLOG_HOME": str(tmp_path), "FLEETLOG_SECRET": "x" * 48},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "this version of Fleetlog" in done.stderr or "this code knows" in done.stderr

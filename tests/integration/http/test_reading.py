"""Positions: commands tell where the log stands, reads wait until they have got there; and lists that page."""

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.support.api_server import running_api
from tests.support.servers import PostgresServer


def _bind(client: httpx.Client, session_id: str) -> int:
    return int(client.post(f"/api/runs/r-{uuid.uuid4().hex}/bind", json={"sessionId": session_id}).json()["position"])


def test_every_read_sees_what_the_command_before_it_wrote(client: httpx.Client) -> None:
    session_id = f"s-{uuid.uuid4().hex}"
    for count in range(1, 21):
        position = _bind(client, session_id)
        page = client.get("/api/runs", params={"sessionId": session_id, "minPosition": position}).json()
        assert len(page["items"]) == count
        assert page["asOfPosition"] >= position


def test_pages_hold_every_run_once_newest_first(client: httpx.Client) -> None:
    session_id = f"s-{uuid.uuid4().hex}"
    position = max(_bind(client, session_id) for _ in range(7))
    params = {"sessionId": session_id, "limit": "3", "minPosition": str(position)}
    seen, pages = [], 0
    while True:
        page = client.get("/api/runs", params=params).json()
        pages += 1
        seen += [item["position"] for item in page["items"]]
        if page["nextCursor"] is None:
            break
        params["cursor"] = page["nextCursor"]
    assert pages == 3
    assert seen == sorted(set(seen), reverse=True)
    assert len(seen) == 7


def test_the_log_pages_by_position(client: httpx.Client) -> None:
    end = _bind(client, "s")
    positions, after = [], 0
    while True:
        page = client.get("/api/events", params={"after": after, "limit": 100}).json()
        positions += [event["position"] for event in page["events"]]
        if page["nextAfter"] is None:
            break
        after = page["nextAfter"]
    assert positions == list(range(1, max(end, len(positions)) + 1))


def test_time_travel_by_seq_position_and_time(client: httpx.Client) -> None:
    run_id = f"r-{uuid.uuid4().hex}"
    client.post(f"/api/runs/{run_id}/bind", json={"sessionId": "s"})
    todo = {"todo": {"todoId": "a", "content": "x"}}
    client.post(f"/api/runs/{run_id}/callbacks", json={"eventId": "1", "type": "todo.update", "payload": todo})
    todo = {"todo": {"todoId": "b", "content": "y"}}
    client.post(f"/api/runs/{run_id}/callbacks", json={"eventId": "2", "type": "todo.update", "payload": todo})
    events = client.get(f"/api/streams/run:{run_id}/events").json()["events"]
    for index, event in enumerate(events):
        for moment in ({"atSeq": event["seq"]}, {"atPosition": event["position"]}, {"at": event["recordedAt"]}):
            todos = client.get(f"/api/runs/{run_id}/todos", params=moment)
            assert todos.json()["total"] == index, (moment, todos.text)
            assert client.get(f"/api/runs/{run_id}", params=moment).json()["seq"] == event["seq"]
    assert client.get(f"/api/runs/{run_id}/todos").json()["total"] in {0, 1, 2}


def test_a_read_model_that_is_behind_says_so(postgres_server: PostgresServer, monkeypatch) -> None:
    monkeypatch.setattr("interfaces.http.resources.reading.MAX_CATCH_UP_S", 0.3)
    dsn = postgres_server.create_log()
    with running_api(dsn, projecting=False) as api, api.client() as client:
        position = _bind(client, "s")
        started = time.monotonic()
        behind = client.get("/api/runs", params={"minPosition": position})
        assert behind.status_code == 503
        assert behind.json()["reason"] == "read_model_behind"
        assert behind.headers["retry-after"] == "1"
        assert time.monotonic() - started < 5
        for path in ("/api/runs", "/api/runs/x", "/api/runs/x/todos", "/api/usage", "/api/human-loop/pending"):
            assert client.get(path).json()["reason"] == "read_model_behind", path
    postgres_server.drop_database(dsn)


def test_no_more_streams_than_allowed(postgres_server: PostgresServer) -> None:
    dsn = postgres_server.create_log()
    with running_api(dsn, max_streams=1) as api, api.client() as client, api.client() as other:
        run_id = f"r-{uuid.uuid4().hex}"
        client.post(f"/api/runs/{run_id}/bind", json={"sessionId": "s"})
        with client.stream("GET", f"/api/runs/{run_id}/stream") as first:
            assert first.headers["content-type"].startswith("text/event-stream")
            refused = other.get(f"/api/runs/{run_id}/stream")
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) >= 1
            assert refused.headers["content-type"] == "application/problem+json"
            feed = other.get("/api/events", headers={"accept": "text/event-stream"})
            assert feed.status_code == 503
    postgres_server.drop_database(dsn)


def test_before_a_projector_has_run_reads_say_so(postgres_server: PostgresServer) -> None:
    dsn = postgres_server.create_log()
    with running_api(dsn, projecting=False) as api, api.client() as client:
        answer = client.get("/api/runs")
    assert answer.status_code == 503
    assert "no projector has run on this database yet" in answer.text
    postgres_server.drop_database(dsn)


@pytest.mark.proof
def test_a_database_that_is_away_is_a_503_and_nobody_is_told_why(
    postgres_server: PostgresServer,
) -> None:
    dsn = postgres_server.create_log()
    with running_api(dsn) as api, api.client() as client:
        assert client.get("/api/runs").status_code == 200
        postgres_server.drop_database(dsn)
        # Each waits for a connection first, within bounds: they wait together here.
        with ThreadPoolExecutor(5) as threads:
            away = [
                threads.submit(client.get, "/api/runs"),
                threads.submit(client.get, "/api/events"),
                threads.submit(client.post, "/api/runs/x/bind", json={"sessionId": "s"}),
                threads.submit(client.get, "/metrics"),
            ]
            ready = client.get("/ready")
        for answer in (future.result() for future in away[:3]):
            assert answer.status_code == 503, answer.text
            assert answer.headers["retry-after"]
            assert "test_" not in answer.text
        assert away[3].result().status_code == 200
        assert ready.status_code == 503
        assert ready.json()["ready"] is False
        assert client.get("/health").status_code == 200

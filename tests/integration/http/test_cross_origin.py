"""CORS: which pages of other origins may call the API, and what a browser is told."""

from collections.abc import Iterator

import httpx
import pytest

from tests.support.api_server import KEY, KEYS, ApiServer, running_api
from tests.support.problems import problem
from tests.support.servers import PostgresServer

PORTAL = "https://portal.example"
BEARER = {"authorization": f"Bearer {KEY}"}
STRANGERS = ["https://portal.example.evil", "http://portal.example", "https://portal.example:8443", "null"]


@pytest.fixture(scope="module")
def open_to_portal(postgres_server: PostgresServer) -> Iterator[ApiServer]:
    dsn = postgres_server.create_log()
    with running_api(dsn, api_keys=KEYS, allowed_origins=frozenset({PORTAL, "http://localhost:3000"})) as server:
        yield server
    postgres_server.drop_database(dsn)


@pytest.fixture(scope="module")
def browser(open_to_portal: ApiServer) -> Iterator[httpx.Client]:
    with open_to_portal.client() as client:
        yield client


def preflight(client: httpx.Client, origin: str, method: str = "POST") -> httpx.Response:
    asked = {"access-control-request-method": method, "access-control-request-headers": "authorization,content-type"}
    return client.options("/api/runs/start", headers={"origin": origin, **asked})


def test_a_preflight_of_an_allowed_origin_needs_no_key(browser: httpx.Client) -> None:
    answer = preflight(browser, PORTAL)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == PORTAL
    assert {"GET", "POST", "PUT"} <= set(answer.headers["access-control-allow-methods"].split(", "))
    sent = set(answer.headers["access-control-allow-headers"].split(", "))
    assert {"authorization", "content-type", "accept", "last-event-id", "idempotency-key"} <= sent
    assert "access-control-allow-credentials" not in answer.headers
    assert "origin" in answer.headers["vary"].lower()


@pytest.mark.parametrize("origin", STRANGERS)
def test_another_origin_is_told_nothing(browser: httpx.Client, origin: str) -> None:
    refused = preflight(browser, origin)
    problem(refused, 405)
    answered = browser.get("/api/runs", headers={"origin": origin, **BEARER})
    assert answered.status_code == 200
    for answer in (refused, answered):
        assert not any(name.startswith("access-control-") for name in answer.headers)
        assert answer.headers["vary"] == "Origin"


def test_a_page_may_read_answers_errors_and_when_to_come_again(browser: httpx.Client) -> None:
    for path, headers, status in (("/api/runs", BEARER, 200), ("/api/runs", {}, 401), ("/api/runs/x", BEARER, 404)):
        answer = browser.get(path, headers={"origin": PORTAL, **headers})
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == PORTAL
        exposed = set(answer.headers["access-control-expose-headers"].split(", "))
        assert {"retry-after", "x-trace-id", "x-as-of-position", "idempotent-replay"} <= exposed


def test_a_page_may_read_a_stream(browser: httpx.Client) -> None:
    body = {"provider": "scripted", "messages": [{"role": "user", "content": "echo hi"}]}
    run = browser.post("/api/runs/queue/enqueue", json=body, headers=BEARER).json()["runId"]
    assert browser.post(f"/api/runs/{run}/stop", headers=BEARER).json()["ok"] is True
    answer = browser.get(f"/api/runs/{run}/stream", headers={"origin": PORTAL, **BEARER})
    assert answer.headers["access-control-allow-origin"] == PORTAL
    assert answer.text.endswith("\n\n")


def test_without_the_setting_nobody_is_allowed_and_without_keys_other_origins_are_refused(client: httpx.Client) -> None:
    problem(preflight(client, PORTAL), 405)
    answer = client.get("/api/runs", headers={"origin": PORTAL})
    problem(answer, 403)
    assert "access-control-allow-origin" not in answer.headers

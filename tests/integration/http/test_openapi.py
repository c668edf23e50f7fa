"""The OpenAPI document says what the server does: every route, every answer's shape, nothing else."""

import re
import uuid
from typing import Any

import httpx
import msgspec
import pytest

from interfaces.cli.main import main
from interfaces.http.edge.endpoint import Endpoint
from interfaces.http.edge.openapi import openapi_document
from interfaces.http.edge.problems import ProblemDocument
from interfaces.http.edge.queries import Query, ReadQuery
from interfaces.http.routes import ENDPOINTS
from tests.integration.http.regenerate_openapi import GOLDEN, contract
from tests.support.api_server import ApiServer

FIXED_ROUTES = """
GET /health
GET /ready
GET /metrics
POST /api/session-workers/{sessionId}/activate
GET /api/session-workers
GET /api/session-workers/{sessionId}
POST /api/session-workers/{sessionId}/sync
POST /api/session-workers/{sessionId}/stop
POST /api/session-workers/cleanup/idle
POST /api/session-workers/cleanup/stopped
POST /api/runs/restore-plan
POST /api/runs/start
POST /api/runs/queue/enqueue
POST /api/runs/queue/drain
GET /api/runs/queue/{runId}
GET /api/runs
GET /api/runs/{runId}
GET /api/runs/{runId}/stream
POST /api/runs/{runId}/stop
POST /api/runs/{runId}/bind
POST /api/runs/{runId}/callbacks
GET /api/runs/{runId}/todos
GET /api/runs/{runId}/todos/events
GET /api/human-loop/pending
GET /api/human-loop/requests
POST /api/human-loop/reply
GET /api/usage
GET /api/runs/{runId}/usage
GET /api/providers
POST /api/reconcile/runs
POST /api/reconcile/sync
GET /api/events
GET /api/streams/{streamId}/events
"""


@pytest.fixture(scope="module")
def document(client: httpx.Client) -> dict[str, Any]:
    return client.get("/openapi.json").json()


def test_the_document_has_every_route_of_the_table(document: dict[str, Any]) -> None:
    described = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert set(FIXED_ROUTES.split("\n")[1:-1]) <= described
    assert described == {f"{endpoint.method} {endpoint.path}" for endpoint in ENDPOINTS}


def test_the_contract_is_the_golden_one() -> None:
    """A change belongs in CHANGELOG.md; then `python -m tests.integration.http.regenerate_openapi`."""
    assert contract().decode().splitlines() == GOLDEN.read_text(encoding="utf-8").splitlines()


def test_the_document_is_whole(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    schemas = document["components"]["schemas"]
    text = msgspec.json.encode(document).decode()
    for name in re.findall(r'"#/components/schemas/([^"]+)"', text):
        assert name in schemas
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(set(ids)) == len(ids)
    for operation in operations:
        assert operation["summary"]
        for response in operation["responses"].values():
            assert response["description"]
    assert all(re.fullmatch(r"[a-z]+[A-Z][A-Za-z]+", name) for name in ids), "a verb and what it is done to"
    for path, methods in document["paths"].items():
        for operation in methods.values():
            told = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"}
            assert told == set(re.findall(r"\{(\w+)\}", path))


def test_every_type_in_the_document_has_one_meaning() -> None:
    """Two types of one name would hide one another."""
    kinds: dict[str, set[Any]] = {}
    for endpoint in ENDPOINTS:
        for kind in (*endpoint.answers.values(), endpoint.body, endpoint.query):
            if kind is not None:
                kinds.setdefault(getattr(kind, "__name__", str(kind)), set()).add(kind)
    assert {name for name, found in kinds.items() if len(found) > 1 and "Page" not in name} == set()


def test_queries_in_the_document_are_those_that_the_server_reads(document: dict[str, Any]) -> None:
    for endpoint in ENDPOINTS:
        operation = document["paths"][endpoint.path][endpoint.method.lower()]
        told = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "query"}
        assert told == set(endpoint.query.__struct_encode_fields__)
        assert issubclass(endpoint.query, Query)
        assert operation["operationId"] == endpoint.name


def _fits(endpoint: Endpoint, response: httpx.Response) -> None:
    """The answer is of the very type that the document tells, with no field more."""
    kind = endpoint.answers.get(response.status_code, ProblemDocument)
    if kind is None:
        return
    decoded = msgspec.json.decode(response.content, type=kind)
    told, answered = msgspec.to_builtins(decoded), response.json()
    if kind is not ProblemDocument:
        assert _names(answered) <= _names(told), _names(answered) - _names(told)


def _names(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {*value, *(name for inner in value.values() for name in _names(inner))}
    if isinstance(value, list | tuple):
        return {name for inner in value for name in _names(inner)}
    return set()


@pytest.fixture(scope="module")
def answers(api: ApiServer, client: httpx.Client) -> list[tuple[str, httpx.Response]]:
    run_id, session_id = f"r-{uuid.uuid4().hex}", f"s-{uuid.uuid4().hex}"
    who = {"appId": "shop", "userLoginName": "ann"}
    spec = {"provider": "scripted", "messages": [{"role": "user", "content": "x"}], "runId": f"{run_id}-q"}
    asked = {"questionId": "q", "prompt": "?", "options": [{"label": "a"}]}
    told: list[tuple[str, httpx.Response]] = []
    # Nobody works here, so reads of the work tables would wait in vain.
    projected = {
        f"GET {endpoint.path}"
        for endpoint in ENDPOINTS
        if issubclass(endpoint.query, ReadQuery) and endpoint.tag not in {"effects", "queue"}
    }
    ids = {"runId": run_id, "sessionId": session_id, "streamId": f"run:{run_id}", "effectKey": "0" * 32}
    ids |= {"position": "1", "chatId": f"run-{run_id}-q"}

    def call(template: str, **options: Any) -> None:
        method, path = template.split()
        for name, value in ids.items():
            path = path.replace("{" + name + "}", value)
        options.setdefault("params", {})
        if template in projected:
            options["params"] = {"minPosition": api.last_position()} | options["params"]
        told.append((template, client.request(method, path, **options)))

    call("POST /api/runs/{runId}/bind", json={"sessionId": session_id})
    for number, (kind, payload) in enumerate(
        [
            ("todo.update", {"todo": {"todoId": "a", "content": "b"}}),
            ("todo.snapshot", {"todos": [{"todoId": "a", "content": "b"}]}),
            ("human_loop.requested", asked),
            ("message.delta", {"text": "hi"}),
            ("message.stop", {}),
        ]
    ):
        body = {"eventId": str(number), "type": kind, "payload": payload}
        call("POST /api/runs/{runId}/callbacks", json=[body] if number else body)
    call("POST /api/session-workers/{sessionId}/activate", json=who, params={"waitMs": 0})
    call("POST /api/runs/restore-plan", json=who | {"sessionId": session_id})
    call("POST /api/runs/queue/enqueue", json=spec)
    call("POST /api/runs/start", json=spec, params={"waitMs": 0})
    client.post(f"/api/runs/{run_id}-q/stop")
    call("POST /api/runs/start", json=spec)
    for path in ("cleanup/idle", "cleanup/stopped"):
        call(f"POST /api/session-workers/{path}")
    for path in ("reconcile/runs", "reconcile/sync", "runs/queue/drain"):
        call(f"POST /api/{path}")
    for endpoint in ENDPOINTS:
        if endpoint.method == "GET" and not endpoint.path.endswith("/stream"):
            call(f"GET {endpoint.path}")
    call("GET /api/usage", params={"groupBy": "appId"})
    call("POST /api/chat-opencode-history", json={"title": "A chat"})
    call("PUT /api/chat-opencode-history/{chatId}", json={"title": "A chat"})
    call("POST /api/human-loop/reply", json={"runId": run_id, "questionId": "q", "answer": "a"})
    call("POST /api/runs/{runId}/stop", json={"reason": "done"})
    return told


def test_answers_are_of_the_types_that_the_document_tells(answers: list[tuple[str, httpx.Response]]) -> None:
    table = {f"{endpoint.method} {endpoint.path}": endpoint for endpoint in ENDPOINTS}
    for template, response in answers:
        assert response.status_code in table[template].answers or response.status_code == 404, (template, response.text)
        _fits(table[template], response)
    succeeded = {template for template, response in answers if response.is_success}
    assert len(succeeded) >= 27


def test_every_command_tells_a_position_and_every_read_what_it_is_as_of(
    answers: list[tuple[str, httpx.Response]],
) -> None:
    for template, response in answers:
        method, path = template.split()
        is_json = response.headers.get("content-type") == "application/json"
        if not response.is_success or not is_json or not path.startswith("/api/"):
            continue
        for body in response.json() if isinstance(response.json(), list) else [response.json()]:
            assert body["asOfPosition" if method == "GET" else "position"] > 0, template


def test_the_page_needs_nothing_from_elsewhere(client: httpx.Client) -> None:
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert not re.findall(r"(?:src|href)=[\"']?(?:https?:)?//", page.text)
    assert openapi_document(ENDPOINTS) is openapi_document(ENDPOINTS)


def test_the_root_leads_to_the_documentation(client: httpx.Client) -> None:
    answer = client.get("/")

    assert (answer.status_code, answer.headers["location"]) == (307, "/docs")


def test_the_document_has_the_version_of_the_package(
    document: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])

    assert ended.value.code == 0
    assert capsys.readouterr().out == f"fleetlog {document['info']['version']}\n"

"""Bad input on every route: a 4xx problem document that names the field, and nothing is written."""

import json
import socket
import uuid
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from interfaces.http.endpoint import Endpoint
from interfaces.http.queries import Query
from interfaces.http.routes import ENDPOINTS
from tests.support.api_server import ApiServer

JSON = {"content-type": "application/json"}
MIB = 1024 * 1024


def path_of(endpoint: Endpoint, **values: str) -> str:
    path = endpoint.path
    for name in endpoint.parameters:
        default = "run:nobody" if name == "streamId" else "nobody"
        path = path.replace("{" + name + "}", values.get(name, default))
    return path


def problem(response: httpx.Response, *statuses: int) -> dict[str, Any]:
    assert response.status_code in statuses, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert {"type", "title", "status", "detail", "error", "traceId"} <= body.keys()
    assert body["status"] == response.status_code
    assert body["error"] == body["detail"]
    assert body["traceId"] == response.headers["x-trace-id"]
    return body


def fields(response: httpx.Response, *statuses: int) -> list[str]:
    return [error["field"] for error in problem(response, *(statuses or (400,)))["errors"]]


@pytest.fixture(autouse=True)
def nothing_is_written(api: ApiServer) -> Any:
    before = api.last_position()
    yield
    assert api.last_position() == before


POSTS = [endpoint for endpoint in ENDPOINTS if endpoint.method == "POST"]
BODIES = [endpoint for endpoint in POSTS if endpoint.body is not None]


def shown(endpoint: Endpoint) -> str:
    return f"{endpoint.method} {endpoint.path}"


@pytest.mark.parametrize("endpoint", POSTS, ids=shown)
@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"{]",
        b'{"a":NaN}',
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\\ud800"}',
        b"[" * 100_000,
        b'{"a":' * 5000,
        b"\xef\xbb\xbf{}",
        b"{} {}",
        b"nonsense",
    ],
    ids=lambda raw: repr(raw[:12]),
)
def test_malformed_json(client: httpx.Client, endpoint: Endpoint, raw: bytes) -> None:
    assert len(fields(client.post(path_of(endpoint), content=raw, headers=JSON))) == 1


@pytest.mark.parametrize("endpoint", BODIES, ids=shown)
@pytest.mark.parametrize("raw", [b"null", b"[]", b'"text"', b"17"])
def test_a_body_that_is_no_object(client: httpx.Client, endpoint: Endpoint, raw: bytes) -> None:
    assert fields(client.post(path_of(endpoint), content=raw, headers=JSON)) == ["body"]


@pytest.mark.parametrize("endpoint", BODIES, ids=shown)
def test_an_unknown_field_is_named(client: httpx.Client, endpoint: Endpoint) -> None:
    assert fields(client.post(path_of(endpoint), json={"noSuchField": 1})) == ["noSuchField"]


@pytest.mark.parametrize("endpoint", BODIES, ids=shown)
def test_a_field_of_the_wrong_type_is_named(client: httpx.Client, endpoint: Endpoint) -> None:
    for name in endpoint.body.__struct_encode_fields__:
        if name == "answer":
            continue
        assert fields(client.post(path_of(endpoint), content=b'{"%s":[[{}]]}' % name.encode(), headers=JSON))[
            0
        ].startswith(name)


@pytest.mark.parametrize("endpoint", [e for e in BODIES if not e.body_optional], ids=shown)
def test_a_missing_field_is_named(client: httpx.Client, endpoint: Endpoint) -> None:
    assert fields(client.post(path_of(endpoint), json={})) != ["body"]
    assert fields(client.post(path_of(endpoint), content=b"", headers=JSON)) == ["body"]


@pytest.mark.parametrize("endpoint", POSTS, ids=shown)
@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16"]
)
def test_another_content_type_is_refused(client: httpx.Client, endpoint: Endpoint, kind: str) -> None:
    response = client.post(path_of(endpoint), content=b"{}", headers={"content-type": kind})
    assert fields(response, 415) == ["content-type"]


@pytest.mark.parametrize("endpoint", POSTS, ids=shown)
def test_a_body_over_8_mib_is_refused_with_its_length_known_or_not(client: httpx.Client, endpoint: Endpoint) -> None:
    known = client.post(path_of(endpoint), content=b" " * (8 * MIB + 1), headers=JSON)
    assert fields(known, 413) == ["body"]

    def chunks() -> Any:
        for _ in range(9):
            yield b" " * MIB

    chunked = client.post(path_of(endpoint), content=chunks(), headers=JSON)
    assert fields(chunked, 413) == ["body"]


@pytest.mark.parametrize("endpoint", [e for e in ENDPOINTS if e.parameters], ids=shown)
@pytest.mark.parametrize("bad", ["-x", "a b", "ä", "%00", "a%00b", "x" * 200, "a%2Cb", "%FF", "..%00", "a;b"])
def test_a_bad_id_is_named(client: httpx.Client, endpoint: Endpoint, bad: str) -> None:
    name = endpoint.parameters[0]
    response = client.request(endpoint.method, path_of(endpoint, **{name: bad}))
    if endpoint.method == "POST" and response.status_code == 400 and fields(response) == ["body"]:
        pytest.fail("the path is checked before the body")
    assert fields(response) == [name]


@pytest.mark.parametrize(
    "path",
    ["/api/runs/../todos", "/api/runs/..", "/api/session-workers/..", "/api/../../etc/passwd", "//", "/api/runs/"],
)
def test_dots_in_paths_lead_nowhere(api: ApiServer, path: str) -> None:
    parts = urlsplit(api.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nhost: {parts.netloc}\r\nconnection: close\r\n\r\n".encode())
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split()[1] in {b"400", b"404"}
    assert b"application/problem+json" in head
    assert json.loads(body)["traceId"]


GETS = [endpoint for endpoint in ENDPOINTS if endpoint.query is not Query]
BAD_VALUES = ["-1", "x", "", "1.5", "9" * 19, "9" * 30, "9" * 5000, "1e3", "NaN", "٣", "0x10", "1;drop"]


@pytest.mark.parametrize("endpoint", GETS, ids=shown)
def test_a_bad_query_parameter_is_named(client: httpx.Client, endpoint: Endpoint) -> None:
    numbers = {"minPosition", "limit", "after", "cursor", "atSeq", "atPosition", "waitMs"}
    for name in endpoint.query.__struct_encode_fields__:
        if name in numbers and not (name == "cursor" and endpoint.path != "/api/runs/{runId}/stream"):
            for value in BAD_VALUES:
                response = client.request(endpoint.method, path_of(endpoint), params={name: value})
                assert fields(response) == [name], (name, value)
        if name in {"at", "from", "to"}:
            for value in ["yesterday", "2026-01-01", "2026-01-01T00:00:00", "17", "0001-01-01T00:00:00+23:59"]:
                assert fields(client.get(path_of(endpoint), params={name: value})) == [name]
        if name not in {"type", "groupBy"}:
            twice = client.request(endpoint.method, path_of(endpoint), params=[(name, "1"), (name, "1")])
            assert fields(twice) == [name]
        response = client.request(endpoint.method, path_of(endpoint), params={name: "a\0b"})
        assert fields(response) == [name]
    assert client.request(endpoint.method, path_of(endpoint), params={"unknown": "1"}).status_code < 500


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/api/session-workers?cursor=nonsense", "cursor"),
        ("/api/runs?cursor=%C3%A4", "cursor"),
        ("/api/human-loop/requests?cursor=YmVmb3JlOi0x", "cursor"),
        ("/api/runs?state=asleep", "state"),
        ("/api/session-workers?state=asleep", "state"),
        ("/api/human-loop/pending?status=x", "status"),
        ("/api/human-loop/requests?runId=..", "runId"),
        ("/api/human-loop/requests?atSeq=1", "runId"),
        ("/api/usage?groupBy=moon", "groupBy[0]"),
        ("/api/usage?fromDay=2026-02-31", "fromDay"),
        ("/api/usage?toDay=0000-01-01", "toDay"),
        ("/api/usage?toDay=20260101", "toDay"),
        ("/api/events?after=9223372036854775807", "after"),
        ("/api/runs?minPosition=9223372036854775807", "minPosition"),
        ("/api/usage?minPosition=999999999", "minPosition"),
        ("/api/runs/nobody?atSeq=1&atPosition=2", "atPosition"),
    ],
)
def test_a_query_value_beyond_what_there_is_is_named(client: httpx.Client, path: str, field: str) -> None:
    assert fields(client.get(path)) == [field]


@pytest.mark.parametrize(
    "path",
    [
        "/api/session-workers/nobody",
        "/api/session-workers/nobody?atSeq=1",
        "/api/session-workers/nobody?at=2026-01-01T00:00:00Z",
        "/api/session-workers/nobody?at=2026-01-01T00:00:00+02:00",
        "/api/session-workers/nobody?atPosition=0",
        "/api/runs/nobody",
        "/api/runs/nobody?atSeq=0",
        "/api/runs/nobody/stream",
        "/api/runs/nobody/todos",
        "/api/runs/nobody/todos?atSeq=1",
        "/api/runs/nobody/todos/events",
        "/api/runs/nobody/usage",
        "/api/runs/queue/nobody",
        "/api/streams/run:nobody/events",
        "/api/streams/moon:nobody/events",
        "/api/human-loop/requests?runId=nobody&atSeq=1",
        "/api/nothing",
        "/",
        "/api",
        "/api/runs/nobody/nothing",
    ],
)
def test_what_is_not_known_is_a_404(client: httpx.Client, path: str) -> None:
    problem(client.get(path), 404)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/session-workers/nobody/sync", None),
        ("/api/session-workers/nobody/stop", {}),
        ("/api/runs/nobody/stop", {"reason": "why not"}),
        ("/api/human-loop/reply", {"runId": "nobody", "questionId": "q", "answer": None}),
    ],
)
def test_a_command_on_what_is_not_known_is_a_404(client: httpx.Client, path: str, body: Any) -> None:
    problem(client.post(path, json=body) if body is not None else client.post(path), 404)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=shown)
def test_another_method_is_a_405_that_says_which_are_possible(client: httpx.Client, endpoint: Endpoint) -> None:
    for method in ("DELETE", "PUT", "PATCH", "TRACE", "OPTIONS"):
        response = client.request(method, path_of(endpoint))
        problem(response, 405)
        assert endpoint.method in response.headers["allow"]


WHO = {"appId": "shop", "userLoginName": "ann"}
MANIFEST = {"appId": "shop", "runtimeVersion": "1", "workspaceTemplatePrefix": "templates/shop"}
RUN = {"provider": "scripted", "messages": [{"role": "user", "content": "echo"}]}


@pytest.mark.parametrize("path", ["/api/session-workers/s-bad/activate", "/api/runs/restore-plan"])
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"appId": "../x"}, "appId"),
        ({"appId": ""}, "appId"),
        ({"projectName": "a/b"}, "projectName"),
        ({"userLoginName": "a\0b"}, "userLoginName"),
        ({"userLoginName": "x" * 121}, "userLoginName"),
        ({"runtimeVersion": 1}, "runtimeVersion"),
        ({"manifest": MANIFEST | {"appId": "other"}}, "manifest.appId"),
        ({"manifest": MANIFEST, "runtimeVersion": "2"}, "runtimeVersion"),
        ({"manifest": MANIFEST | {"requiredPaths": ["/workspace/a", "/workspace/../b"]}}, "manifest.requiredPaths[1]"),
        ({"manifest": MANIFEST | {"requiredPaths": ["/workspaceX"]}}, "manifest.requiredPaths[0]"),
        ({"manifest": MANIFEST | {"protectedPaths": ["etc"]}}, "manifest.protectedPaths[0]"),
        ({"manifest": MANIFEST | {"workspaceTemplatePrefix": "../x"}}, "manifest.workspaceTemplatePrefix"),
        ({"manifest": MANIFEST | {"seedFiles": [{"from": "/workspace/a"}]}}, "manifest.seedFiles[0].to"),
        ({"manifest": MANIFEST | {"seedFiles": [{"from": "/a", "to": "/workspace/b"}]}}, "manifest.seedFiles[0].from"),
        ({"manifest": MANIFEST | {"mountPoints": [{"name": "usb", "targetPath": "/workspace"}]}},
         "manifest.mountPoints[0].name"),
        ({"manifest": MANIFEST | {"mountPoints": [{"name": "app_kb", "targetPath": "/etc"}]}},
         "manifest.mountPoints[0].targetPath"),
        ({"manifest": MANIFEST | {"cleanupRules": [{"action": "remove_if_exists", "path": "/workspace/a/../.."}]}},
         "manifest.cleanupRules[0].path"),
        ({"manifest": MANIFEST | {"conflictPolicy": "mine"}}, "manifest.conflictPolicy"),
        ({"manifest": MANIFEST | {"moon": 1}}, "manifest.moon"),
        ({"manifest": MANIFEST | {"requiredPaths": [f"/workspace/{i:080}" for i in range(2000)]}}, "manifest"),
    ],
)  # fmt: skip
def test_a_bad_workspace_is_named(client: httpx.Client, path: str, change: dict[str, Any], field: str) -> None:
    session = {"sessionId": "s-bad"} if path.endswith("plan") else {}
    assert fields(client.post(path, json=WHO | session | change)) == [field]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"sessionId": ".."}, "sessionId"),
        ({"existingPaths": ["/workspace/a", "/etc"]}, "existingPaths[1]"),
        ({"existingPaths": ["/workspace/\0"]}, "existingPaths[0]"),
    ],
)
def test_a_bad_restore_plan_is_named(client: httpx.Client, change: dict[str, Any], field: str) -> None:
    assert fields(client.post("/api/runs/restore-plan", json=WHO | {"sessionId": "s"} | change)) == [field]


@pytest.mark.parametrize("path", ["/api/runs/start", "/api/runs/queue/enqueue"])
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"provider": "cobol"}, "provider"),
        ({"provider": "\0"}, "provider"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "x", "mood": 1}]}, "messages[0].mood"),
        ({"messages": [{"role": "user", "content": "x" * 300_000}]}, "messages"),
        ({"runId": "../x"}, "runId"),
        ({"runId": "x" * 117}, "runId"),
        ({"sessionId": ""}, "sessionId"),
        ({"sessionId": "a\0"}, "sessionId"),
        ({"appId": "a b"}, "appId"),
        ({"userLoginName": "ä"}, "userLoginName"),
        ({"model": "a\0b"}, "model"),
        ({"model": "m" * 501}, "model"),
        ({"tools": ["ok", 5]}, "tools[1]"),
        ({"tools": "ls"}, "tools"),
        ({"providerOptions": []}, "providerOptions"),
        ({"providerOptions": {"script": "x" * 300_000}}, "providerOptions"),
        ({"requireHumanLoop": "yes"}, "requireHumanLoop"),
        ({"retryPolicy": "often"}, "retryPolicy"),
    ],
)
def test_a_bad_run_is_named(client: httpx.Client, path: str, change: dict[str, Any], field: str) -> None:
    assert fields(client.post(path, json=RUN | change, params={} if "queue" in path else {"waitMs": 0})) == [field]


@pytest.mark.parametrize("attempts", [0, -1, 101, 2**70])
def test_a_bad_limit_of_attempts_is_named(client: httpx.Client, attempts: int) -> None:
    assert fields(client.post("/api/runs/queue/enqueue", json=RUN | {"maxAttempts": attempts})) == ["maxAttempts"]


def test_deep_or_huge_provider_options_are_named(client: httpx.Client) -> None:
    for raw in (b"[" * 150 + b"]" * 150, b"[" * 900 + b"]" * 900, b"9" * 5000, b"1e400"):
        body = b'{"provider":"scripted","messages":[{"role":"user","content":"x"}],"providerOptions":{"a":%s}}' % raw
        assert fields(client.post("/api/runs/queue/enqueue", content=body, headers=JSON))[0].startswith(
            "providerOptions"
        )


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/api/session-workers/cleanup/idle", {"limit": 0}, "limit"),
        ("/api/session-workers/cleanup/idle", {"idleTimeoutMs": -1}, "idleTimeoutMs"),
        ("/api/session-workers/cleanup/idle", {"idleTimeoutMs": 2**63}, "idleTimeoutMs"),
        ("/api/session-workers/cleanup/stopped", {"removeAfterMs": "1"}, "removeAfterMs"),
        ("/api/session-workers/cleanup/stopped", {"limit": 1001}, "limit"),
        ("/api/runs/queue/drain", {"limit": 101}, "limit"),
        ("/api/runs/queue/drain", {"lockMs": 1}, "lockMs"),
        ("/api/runs/queue/drain", {"owner": "a/b"}, "owner"),
        ("/api/runs/x/bind", {"sessionId": "../s"}, "sessionId"),
        ("/api/runs/x/stop", {"reason": "x" * 501}, "reason"),
        ("/api/human-loop/reply", {"runId": "..", "questionId": "q", "answer": 1}, "runId"),
        ("/api/human-loop/reply", {"runId": "r", "questionId": "q"}, "answer"),
        ("/api/human-loop/reply", {"runId": "r", "questionId": "q", "answer": "x" * 300_000}, "answer"),
    ],
)
def test_a_bad_command_is_named(client: httpx.Client, path: str, body: dict[str, Any], field: str) -> None:
    assert fields(client.post(path, json=body)) == [field]


GOOD = {"eventId": "e1", "type": "message.delta", "payload": {"text": "hi"}}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"eventId": ""}, "eventId"),
        ({"eventId": "a\0b"}, "eventId"),
        ({"eventId": "ä" * 201}, "eventId"),
        ({"eventId": "𝄞" * 150}, "eventId"),
        ({"eventId": 5}, "eventId"),
        ({"type": ""}, "type"),
        ({"payload": []}, "payload"),
        ({"payload": {}}, "payload.text"),
        ({"payload": {"text": 5}}, "payload.text"),
        ({"payload": {"text": "x" * 300_000}}, "payload"),
        ({"type": "todo.update", "payload": {"todo": {"todoId": "a", "content": "b", "status": "x"}}},
         "payload.todo.status"),
        ({"type": "todo.snapshot", "payload": {"todos": [{"todoId": "a"}]}}, "payload.todos[0].content"),
        ({"type": "human_loop.requested", "payload": {"questionId": "q", "timeoutMs": 2**62}}, "payload.timeoutMs"),
        ({"type": "human_loop.requested", "payload": {"questionId": "q", "timeoutMs": -5}}, "payload.timeoutMs"),
        ({"type": "run.finished", "payload": {"outcome": "succeeded", "usage": {"inputTokens": 2**80}}}, "payload"),
        ({"type": "run.finished", "payload": {"outcome": "gone"}}, "payload.outcome"),
        ({"type": "moon.rise", "payload": {"text": "x" * 20_000}}, "payload"),
        ({"type": "moon.rise", "payload": {"text": '"' * 8_000}}, "payload"),
    ],
)  # fmt: skip
def test_a_bad_callback_is_named_alone_in_an_array_and_in_ndjson(
    client: httpx.Client, change: dict[str, Any], field: str
) -> None:
    path = f"/api/runs/r-{uuid.uuid4().hex}/callbacks"
    bad = GOOD | change
    assert fields(client.post(path, json=bad)) == [field]
    assert fields(client.post(path, json=[GOOD, bad])) == [f"[1].{field}"]
    lines = "\n".join(json.dumps(one) for one in (GOOD, GOOD, bad))
    ndjson = client.post(path, content=lines, headers={"content-type": "application/x-ndjson"})
    assert fields(ndjson) == [f"[2].{field}"]


def test_too_many_callbacks_at_once(client: httpx.Client) -> None:
    assert fields(client.post("/api/runs/r/callbacks", json=[GOOD] * 2001)) == ["body"]


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ({"idempotency-key": ""}, "Idempotency-Key"),
        ({"idempotency-key": "a b"}, "Idempotency-Key"),
        ({"idempotency-key": "x" * 256}, "Idempotency-Key"),
        ({"x-actor": "a/b"}, "X-Actor"),
        ({"x-actor": "x" * 121}, "X-Actor"),
    ],
)
def test_a_bad_header_is_named(client: httpx.Client, headers: dict[str, str], field: str) -> None:
    assert fields(client.post("/api/runs/x/bind", json={"sessionId": "s"}, headers=headers)) == [field]


@pytest.mark.parametrize("value", ["-1", "x", "1.5", "9" * 30])
def test_a_bad_last_event_id_is_named(client: httpx.Client, value: str) -> None:
    assert fields(client.get("/api/runs/x/stream", headers={"last-event-id": value})) == ["Last-Event-ID"]
    feed = {"last-event-id": value, "accept": "text/event-stream"}
    assert fields(client.get("/api/events", headers=feed)) == ["Last-Event-ID"]


def test_a_compressed_body_is_refused(client: httpx.Client) -> None:
    response = client.post("/api/runs/x/bind", content=b"x", headers=JSON | {"content-encoding": "gzip"})
    assert fields(response, 415) == ["content-encoding"]

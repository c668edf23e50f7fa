"""Values that a field can never have, route by route: a 4xx problem that names it, and nothing is written."""

import json
import uuid
from typing import Any

import httpx
import pytest

from tests.support.problems import fields

pytestmark = pytest.mark.usefixtures("nothing_is_written")

JSON = {"content-type": "application/json"}
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
        ({"manifest": MANIFEST | {"workspaceTemplatePrefix": "app/shop/project/p/ann/session/s/workspace"}},
         "manifest.workspaceTemplatePrefix"),
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
        ({"priority": "urgent"}, "priority"),
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

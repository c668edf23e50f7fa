"""What the API answers when the object store is away, refuses, or has a stored workspace that can't be read."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
import pytest
from msgspec.structs import replace

from domain.identifiers import session_stream
from domain.session import events as e
from domain.workspace.sync import ManifestEntry, SyncManifest, SyncRef
from infrastructure.embedded.object_store import ObjectStoreAccess
from infrastructure.object_store.s3 import S3ObjectStore
from infrastructure.stored_workspaces.object_layout import manifest_key, object_key
from infrastructure.stored_workspaces.reading import S3RecordedWorkspaces
from tests.support.api_server import ApiServer, running_api
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.recorded import new_event
from tests.support.servers import ObjectStoreServer, PostgresServer
from tests.support.sessions import PREFIX, RUNNING

CONTENT = b"hello"
FILE = ManifestEntry(path="file", kind="file", size=len(CONTENT), hash=hashlib.sha256(CONTENT).hexdigest())
CONTENT_KEY = object_key(PREFIX, FILE.hash)
ACCESS_DENIED = b"<Error><Code>AccessDenied</Code></Error>"
SESSION = "/api/session-workers/{sessionId}"
CALLS = (
    f"GET {SESSION}/workspace",
    f"GET {SESSION}/workspace/file",
    f"POST {SESSION}/restore",
    "POST /api/runs/{runId}/fork",
)
Breaking = Callable[[FaultProxy], AbstractContextManager[Fault | None]]
OUTAGES: dict[str, Breaking] = {
    "refused": lambda proxy: proxy.refusing(),
    "every answer a 500": lambda proxy: proxy.fault(" /", "answer"),
    "answers cut off": lambda proxy: proxy.fault(" /", "cut_answer"),
}


@dataclass
class Stored:
    """A session with one recorded sync and a queued run, on an API whose object store is behind `proxy`. `objects`
    reaches the object store directly."""

    api: ApiServer
    client: httpx.Client
    proxy: FaultProxy
    objects: S3ObjectStore
    sync: SyncRef
    sync_position: int

    def answers(self) -> dict[str, httpx.Response]:
        bodies: dict[str, Any] = {CALLS[2]: {"syncPosition": self.sync_position}, CALLS[3]: {"atSeq": 1}}
        found = {}
        for call in CALLS:
            method, path = call.replace("{sessionId}", "s1").replace("{runId}", "r1").split()
            params = {"path": "/workspace/file"} if path.endswith("/file") else {}
            found[call] = self.client.request(method, path, params=params, json=bodies.get(call))
        return found


@pytest.fixture(scope="module")
def proxied(object_store_server: ObjectStoreServer) -> Iterator[tuple[FaultProxy, ObjectStoreAccess]]:
    access = object_store_server.create_bucket_access()
    with FaultProxy(access.endpoint) as proxy:
        yield proxy, access


@pytest.fixture(scope="module")
def stored(proxied: tuple[FaultProxy, ObjectStoreAccess], postgres_server: PostgresServer) -> Iterator[Stored]:
    proxy, access = proxied
    manifest = SyncManifest(
        session_id="s1", generation=1, number=1, created_at="2026-03-04T05:06:07Z", reason="manual", entries=(FILE,)
    )
    body = msgspec.json.encode(manifest)
    body_hash = hashlib.sha256(body).hexdigest()
    sync = SyncRef(manifest_key=manifest_key(PREFIX, 1, 1, body_hash), manifest_hash=body_hash)
    dsn = postgres_server.create_log()
    with (
        closing(S3ObjectStore(access.location)) as objects,
        closing(S3ObjectStore(replace(access.location, endpoint=proxy.url), retry_delay_s=0.01)) as behind,
        running_api(dsn, projecting=False, recorded=S3RecordedWorkspaces(behind)) as api,
        api.client() as client,
    ):
        objects.put(sync.manifest_key, body)
        objects.put(CONTENT_KEY, CONTENT)
        synced = e.SessionSynced(generation=1, sync_id="x", reason="manual", sync=sync)
        events = [new_event(event, f"e{number}") for number, event in enumerate((*RUNNING, synced))]
        position = api.run(api.deps.store.append(session_stream("s1"), 0, events)).position
        run = {"runId": "r1", "sessionId": "s1", "appId": "shop", "projectName": "web", "userLoginName": "ann"}
        messages = [{"role": "user", "content": "x"}]
        queued = client.post("/api/runs/queue/enqueue", json=run | {"provider": "scripted", "messages": messages})
        assert queued.is_success, queued.text
        yield Stored(api, client, proxy, objects, sync, position)
    postgres_server.drop_database(dsn)


def check_documented(stored: Stored, answers: dict[str, httpx.Response]) -> None:
    paths = stored.client.get("/openapi.json").json()["paths"]
    for call, answer in answers.items():
        method, path = call.split()
        assert str(answer.status_code) in paths[path][method.lower()]["responses"], call


@pytest.mark.parametrize("outage", OUTAGES)
def test_while_the_object_store_is_away_callers_may_try_again(stored: Stored, outage: str) -> None:
    before = stored.api.last_position()
    with OUTAGES[outage](stored.proxy):
        answers = stored.answers()

    for call, answer in answers.items():
        told = (answer.status_code, answer.json()["reason"], answer.headers["retry-after"])
        assert told == (503, "object_store_unavailable", "1"), call
        assert stored.proxy.url not in answer.text
    check_documented(stored, answers)
    assert stored.api.last_position() == before
    read = stored.client.get("/api/session-workers/s1/workspace/file", params={"path": "/workspace/file"})
    assert read.content == CONTENT


def test_an_object_store_that_refuses_us_is_nothing_that_a_caller_can_change(stored: Stored) -> None:
    with stored.proxy.fault(" /", "answer", status=403, body=ACCESS_DENIED):
        answers = stored.answers()

    assert {(answer.status_code, answer.json()["reason"]) for answer in answers.values()} == {
        (502, "object_store_refused")
    }
    check_documented(stored, answers)


@pytest.mark.parametrize(
    ("reason", "content"), [("recorded_sync_missing", None), ("recorded_sync_corrupt", b"{}")], ids=["missing", "other"]
)
def test_a_recorded_sync_that_can_not_be_read_is_named(stored: Stored, reason: str, content: bytes | None) -> None:
    before, key = stored.api.last_position(), stored.sync.manifest_key
    body = stored.objects.get(key)
    stored.objects.delete([key])
    if content is not None:
        stored.objects.put(key, content)
    answers = stored.answers()
    stored.objects.put(key, body)

    for call, answer in answers.items():
        problem = answer.json()
        assert (answer.status_code, problem["reason"]) == (422, reason), call
        assert problem["type"] == "urn:fleetlog:problem:stored-workspace-unreadable"
        assert key in problem["detail"]
    check_documented(stored, answers)
    assert stored.api.last_position() == before


@pytest.mark.parametrize("content", [None, b"other"], ids=["missing", "other"])
def test_a_file_whose_content_is_not_what_was_recorded_is_not_served(stored: Stored, content: bytes | None) -> None:
    stored.objects.delete([CONTENT_KEY])
    if content is not None:
        stored.objects.put(CONTENT_KEY, content)
    read = stored.client.get("/api/session-workers/s1/workspace/file", params={"path": "/workspace/file"})
    stored.objects.put(CONTENT_KEY, CONTENT)

    assert (read.status_code, read.json()["reason"]) == (422, "recorded_content_unreadable")

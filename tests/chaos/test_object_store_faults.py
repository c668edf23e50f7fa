"""An object store that is away, fails, stalls or loses uploads: the gate holds, and the next attempt succeeds."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from infrastructure.embedded.object_store import ObjectStoreAccess
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.fleetlog_parts import on_shared_postgres
from tests.support.fleetlog_server import FleetlogServer, new_id
from tests.support.servers import ObjectStoreServer
from tests.support.session_history import checked_history, output, payloads, removed

pytestmark = [pytest.mark.proof, pytest.mark.timeout(300)]

WRITE = "head -c 300000 /dev/urandom > big; echo kept > file; sha256sum big"
Breaking = Callable[[FaultProxy], AbstractContextManager[Fault | None]]
FAULTS: dict[str, Breaking] = {
    "refused": lambda proxy: proxy.refusing(),
    "every answer a 500": lambda proxy: proxy.fault(" /", "answer"),
    "uploads cut off": lambda proxy: proxy.fault("^(PUT|POST) ", "cut_upload"),
    "answers cut off": lambda proxy: proxy.fault("^(PUT|POST) ", "cut_answer"),
}


@pytest.fixture(scope="module")
def access(object_store_server: ObjectStoreServer) -> ObjectStoreAccess:
    return object_store_server.create_bucket_access()


@pytest.fixture(scope="module")
def proxy(access: ObjectStoreAccess) -> Iterator[FaultProxy]:
    with FaultProxy(access.endpoint) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def server(
    proxy: FaultProxy, access: ObjectStoreAccess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FleetlogServer]:
    settings = {
        **on_shared_postgres(),
        "S3_ENDPOINT": proxy.url,
        "S3_BUCKET": access.bucket,
        "S3_REGION": access.region,
        "AWS_ACCESS_KEY_ID": access.access_key_id,
        "AWS_SECRET_ACCESS_KEY": access.secret_access_key,
        "EXECUTOR_MAX_RETRIES": "0",
    }
    with FleetlogServer(tmp_path_factory.mktemp("faulty") / "home", **settings) as server:
        yield server


@pytest.fixture
def session() -> str:
    return new_id("session")


def state(server: FleetlogServer, session: str) -> tuple[str, str]:
    worker = server.ok("GET", f"/api/session-workers/{session}")
    return worker["state"], worker["lastSyncStatus"]


def asked(server: FleetlogServer, path: str, **body: Any) -> int:
    """Ask for it without waiting; the position of the answer."""
    return int(server.ok("POST", path, params={"waitMs": 0}, json=body or None)["position"])


def unsynced_change(server: FleetlogServer, session: str, content: str) -> None:
    """A change that no run's final sync has taken along."""
    (server.worker_folder(session) / "workspace/file").write_text(content)
    (server.worker_folder(session) / "workspace/big").write_bytes(content.encode() * 50_000)


@pytest.mark.parametrize("name", FAULTS)
def test_no_worker_stops_before_its_workspace_is_stored(
    server: FleetlogServer, proxy: FaultProxy, session: str, name: str
) -> None:
    output(server, WRITE, session)
    unsynced_change(server, session, "changed")
    with FAULTS[name](proxy):
        since = asked(server, f"/api/session-workers/{session}/stop")
        failure = server.until_session(session, "session.sync_failed", since)

        assert state(server, session) == ("running", "failed")

    assert failure["payload"]["reason"] == "pre.stop"
    assert "the executor answered 503" in failure["payload"]["error"]
    assert server.ok("POST", f"/api/session-workers/{session}/stop")["worker"]["state"] == "stopped"
    assert removed(server)["failed"] == 0
    assert output(server, "cat file", session) == "changed"
    checked_history(server, session)


def test_no_worker_is_removed_before_its_workspace_is_stored(
    server: FleetlogServer, proxy: FaultProxy, session: str
) -> None:
    output(server, WRITE, session)
    server.ok("POST", f"/api/session-workers/{session}/stop")
    unsynced_change(server, session, "changed while it was stopped")
    with proxy.fault("^(PUT|POST) ", "answer", status=503):
        since = asked(server, "/api/session-workers/cleanup/stopped", removeAfterMs=0, limit=100)
        failure = server.until_session(session, "session.sync_failed", since)
        assert state(server, session) == ("stopped", "failed")

    assert failure["payload"]["reason"] == "pre.remove"
    server.until_session(session, "session.removed", since)
    assert output(server, "cat file", session) == "changed while it was stopped"
    assert len(payloads(checked_history(server, session), "session.removed")) == 1


@pytest.mark.parametrize("name", ["refused", "every answer a 500"])
def test_a_restore_fails_while_the_store_is_away_and_brings_all_once_it_is_back(
    server: FleetlogServer, proxy: FaultProxy, session: str, name: str
) -> None:
    written = output(server, WRITE, session)
    server.ok("POST", f"/api/session-workers/{session}/stop")
    removed(server)
    with FAULTS[name](proxy):
        asked(server, f"/api/session-workers/{session}/activate", appId="app", userLoginName="ada")
        server.until_session(session, "session.container_started", server.stream(session)[-1]["position"] - 1)
        assert state(server, session)[0] == "deleted"

    assert server.activate(session)["worker"]["state"] == "running"
    assert output(server, "sha256sum big", session) == written
    checked_history(server, session)


def test_a_slow_store_holds_up_the_stop_alone_and_a_message_that_comes_meanwhile_wins(
    server: FleetlogServer, proxy: FaultProxy, session: str
) -> None:
    """The message's run waits in the executor, whose gate is closing, until that gate's sync has ended."""
    output(server, WRITE, session)
    other = new_id("session")
    assert output(server, "echo other", other) == "other\n"
    unsynced_change(server, session, "changed")
    with proxy.fault("^(PUT|POST) .*" + session, "hold") as slow:
        asked(server, f"/api/session-workers/{session}/stop")
        assert slow.happened.wait(30)
        run_id = server.enqueued("cat file", sessionId=session)
        server.until_session(session, "session.run_attached", server.stream(session)[0]["position"] + 1)
        server.until(run_id, "run.started")
        assert output(server, "echo still quick", other) == "still quick\n"

    history = server.history(run_id)
    assert history[-1]["data"]["outcome"] == "succeeded", history[-1]
    assert [frame["event"] for frame in history].count("run.started") == 1
    events = checked_history(server, session)
    assert [each["reason"] for each in payloads(events, "session.stop_canceled")] == ["activated"]
    assert payloads(events, "session.stopping") == []

"""One executor for all sessions, run by another program: sessions behave as they do in session workers of their own."""

from collections.abc import Iterator

import pytest

from domain.identifiers import container_name
from infrastructure.embedded.object_store import ObjectStoreAccess
from tests.support.fleetlog_parts import on_shared_postgres
from tests.support.fleetlog_server import FleetlogServer, new_id
from tests.support.servers import ObjectStoreServer
from tests.support.session_history import checked_history, output, payloads, removed
from tests.support.shared_executor import TOKEN, SharedExecutorRouter, health

pytestmark = [pytest.mark.proof, pytest.mark.timeout(200)]


@pytest.fixture(scope="module")
def store(object_store_server: ObjectStoreServer) -> ObjectStoreAccess:
    return object_store_server.create_bucket_access()


@pytest.fixture(scope="module")
def shared(store: ObjectStoreAccess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedExecutorRouter]:
    with (
        SharedExecutorRouter(tmp_path_factory.mktemp("shared"), store) as executor,
        executor.fault("^GET /health$", "answer", status=200, body=health()),
    ):
        yield executor


@pytest.fixture(scope="module")
def server(
    shared: SharedExecutorRouter, store: ObjectStoreAccess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FleetlogServer]:
    settings = {
        **on_shared_postgres(),
        "EXECUTOR_BASE_URL": shared.url,
        "EXECUTOR_AUTH_TOKEN": TOKEN,
        "S3_ENDPOINT": store.endpoint,
        "S3_BUCKET": store.bucket,
        "S3_REGION": store.region,
        "AWS_ACCESS_KEY_ID": store.access_key_id,
        "AWS_SECRET_ACCESS_KEY": store.secret_access_key,
    }
    with FleetlogServer(tmp_path_factory.mktemp("shared") / "home", **settings) as server:
        yield server


def test_sessions_run_stop_go_and_come_back_at_the_shared_executor_and_no_worker_is_made(
    server: FleetlogServer, shared: SharedExecutorRouter
) -> None:
    one, other = new_id("session"), new_id("session")
    assert output(server, "pwd >/dev/null; echo one > file; cat file", one) == "one\n"
    assert output(server, "ls; echo other > file; cat file", other) == "other\n"

    worker = server.ok("GET", f"/api/session-workers/{one}")
    assert worker["state"] == "running"
    assert not list((server.home / "workers").glob("*-g*"))
    assert {container_name(one, 1), container_name(other, 1)} <= shared.served

    assert server.ok("POST", f"/api/session-workers/{one}/stop")["worker"]["state"] == "stopped"
    assert server.activate(one)["action"] == "started"
    assert output(server, "cat file", one) == "one\n"
    server.ok("POST", f"/api/session-workers/{one}/stop")
    assert removed(server)["failed"] == 0

    assert server.activate(one)["action"] == "created_and_started"
    assert output(server, "cat file", one) == "one\n"
    assert container_name(one, 2) in shared.served
    created = payloads(checked_history(server, one), "session.container_created")
    assert [each["runtime"] for each in created] == ["external", "external"]
    assert output(server, "cat file", other) == "other\n"


def test_a_shared_executor_that_is_away_is_an_error_and_never_gone(
    server: FleetlogServer, shared: SharedExecutorRouter
) -> None:
    session = new_id("session")
    output(server, "echo kept > file", session)
    with shared.refusing():
        since = server.ok("POST", f"/api/session-workers/{session}/stop", params={"waitMs": 0})["position"]
        server.until_session(session, "session.sync_failed", since)
        assert server.ok("GET", f"/api/session-workers/{session}")["state"] == "running"

    assert server.ok("POST", f"/api/session-workers/{session}/stop")["worker"]["state"] == "stopped"
    history = checked_history(server, session)
    assert payloads(history, "session.container_lost") == []
    assert output(server, "cat file", session) == "kept\n"

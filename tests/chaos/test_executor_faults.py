"""Executors that refuse, hang, talk nonsense or lose the connection: the gate holds, and the next attempt succeeds."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support.fault_proxy import FaultProxy
from tests.support.fleetlog_server import FleetlogServer, new_id
from tests.support.session_history import checked_history, output, payloads, removed

pytestmark = [pytest.mark.proof, pytest.mark.timeout(300)]

SETTINGS = {
    "EXECUTOR_MAX_RETRIES": "1",
    "EXECUTOR_RETRY_DELAY_MS": "20",
    "EXECUTOR_TIMEOUT_MS": "3000",
    "RUN_QUEUE_RETRY_DELAY_MS": "100",
}
RESTORE = "POST /workspace/restore"
LINK = "POST /workspace/link-agent-data"
VALIDATE = "POST /workspace/validate"
SYNC = "POST /workspace/sync"
START = "POST /provider-runs/start"
FOLLOW = "GET /provider-runs/.*/stream"
EVERYWHERE = (RESTORE, LINK, VALIDATE, SYNC, START, FOLLOW)

# A call is tried twice by the client, and by its effect again: three times are one try that failed and one that didn't.
FAULTS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "a 500 that its repetition gets over": (EVERYWHERE, {"kind": "answer", "times": 1}),
    "a 503 for longer": (EVERYWHERE, {"kind": "answer", "status": 503, "times": 3}),
    "a 409": ((RESTORE, LINK, VALIDATE, SYNC), {"kind": "answer", "status": 409, "times": 2}),
    "nonsense": ((RESTORE, LINK, VALIDATE, SYNC), {"kind": "answer", "status": 200, "body": b"<html>", "times": 2}),
    "silence": ((LINK, VALIDATE, START), {"kind": "hang", "times": 2}),
    "a connection cut before": (EVERYWHERE, {"kind": "cut", "times": 3}),
    "a connection cut after": ((RESTORE, LINK, VALIDATE, SYNC, START), {"kind": "cut_answer", "times": 3}),
}


class ProxiedFleetlog(FleetlogServer):
    module = "tests.support.proxied_fleetlog"


@pytest.fixture(scope="module")
def proxy() -> Iterator[FaultProxy]:
    with FaultProxy() as proxy:
        yield proxy


@pytest.fixture(scope="module")
def server(proxy: FaultProxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetlogServer]:
    home = tmp_path_factory.mktemp("faulty") / "home"
    with ProxiedFleetlog(home, TEST_EXECUTOR_PROXY=proxy.url, **SETTINGS) as server:
        yield server


@pytest.fixture
def session() -> str:
    return new_id("session")


@pytest.mark.parametrize("name", FAULTS)
def test_a_whole_life_with_a_fault_at_every_path(
    server: FleetlogServer, proxy: FaultProxy, session: str, name: str
) -> None:
    paths, details = FAULTS[name]
    with ExitStack() as stack:
        faults = [stack.enter_context(proxy.fault(path, **details)) for path in paths]
        assert output(server, "echo kept > file; echo done", session) == "done\n"
        stopped = server.ok("POST", f"/api/session-workers/{session}/stop")["worker"]
        assert stopped["state"] == "stopped"
        assert [fault.where for fault in faults if not fault.hits] == []

    assert removed(server)["failed"] == 0
    with ExitStack() as stack:
        faults = [stack.enter_context(proxy.fault(path, **details)) for path in paths]
        assert output(server, "cat file", session) == "kept\n"
        assert [fault.where for fault in faults if not fault.hits] == []

    events = checked_history(server, session)
    assert len(payloads(events, "session.removed")) == 1
    assert len(payloads(events, "session.activated")) == 2
    if details["times"] > 1 and SYNC in paths:
        assert payloads(events, "session.sync_failed"), "the failed sync is not on record"
    assert server.ok("GET", "/api/effects", params={"state": "dead"})["effects"] == []


def test_a_gate_that_stays_shut_keeps_the_worker_and_the_next_stop_passes(
    server: FleetlogServer, proxy: FaultProxy, session: str
) -> None:
    output(server, "echo kept > file", session)
    with proxy.fault(SYNC, "answer", status=503):
        refused = server.problem(409, "POST", f"/api/session-workers/{session}/stop")

    assert refused["reason"] == "sync_failed"
    worker = server.ok("GET", f"/api/session-workers/{session}")
    assert (worker["state"], worker["lastSyncStatus"]) == ("running", "failed")
    assert "injected by a test" in worker["lastSyncError"]
    assert output(server, "cat file", session) == "kept\n"
    assert server.ok("POST", f"/api/session-workers/{session}/stop")["worker"]["state"] == "stopped"
    checked_history(server, session)


def test_a_gate_before_removal_that_stays_shut_keeps_the_container(
    server: FleetlogServer, proxy: FaultProxy, session: str
) -> None:
    output(server, "echo kept > file", session)
    server.ok("POST", f"/api/session-workers/{session}/stop")
    with proxy.fault(SYNC, "answer", status=503):
        assert removed(server)["failed"] >= 1

    worker = server.ok("GET", f"/api/session-workers/{session}")
    assert (worker["state"], worker["lastSyncStatus"]) == ("stopped", "failed")
    assert (server.worker_folder(session) / "workspace/file").read_text() == "kept\n"
    assert removed(server)["failed"] == 0
    events = checked_history(server, session)
    assert [event["type"] for event in events][-1] == "session.removed"


def test_a_message_wins_over_an_idle_stop_whose_gate_sync_comes_too_late_for_it(
    server: FleetlogServer, proxy: FaultProxy, session: str
) -> None:
    output(server, "echo kept > file", session)
    with proxy.fault(SYNC, "hold", times=1) as gate:
        server.ok("POST", f"/api/session-workers/{session}/stop", params={"waitMs": 0})
        assert gate.happened.wait(30)
        run_id = server.enqueued("echo begun; sleep 2; echo ended", sessionId=session)
        server.until(run_id, "message.delta")

    last = server.history(run_id)[-1]["data"]
    assert last["outcome"] == "succeeded", last
    events = checked_history(server, session)
    assert [each["reason"] for each in payloads(events, "session.stop_canceled")] == ["activated"]
    assert payloads(events, "session.stopping") == []


def test_an_activation_that_never_comes_through_says_why_and_the_next_one_does(
    server: FleetlogServer, proxy: FaultProxy, session: str
) -> None:
    identity = {"appId": "app", "userLoginName": "ada"}
    with proxy.fault(RESTORE, "answer", status=502):
        path = f"/api/session-workers/{session}/activate"
        refused = server.problem(409, "POST", path, json=identity)

    assert refused["reason"] == "activation_failed"
    assert re.search("restore: .* 502", refused["detail"])
    assert server.ok("GET", f"/api/session-workers/{session}")["state"] == "deleted"
    assert server.activate(session)["action"] == "created_and_started"
    checked_history(server, session)

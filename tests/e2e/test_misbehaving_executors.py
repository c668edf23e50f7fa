"""Executors that hang, or whose place another has taken: their runs end with the reason, and no other one notices."""

import os
import signal
from collections.abc import Iterator
from urllib.parse import urlsplit

import msgspec
import pytest

from tests.support.agent_processes import assert_none_left
from tests.support.fleetlog_parts import on_shared_postgres
from tests.support.fleetlog_server import FleetlogServer, new_id
from tests.support.memory import peak_bytes
from tests.support.session_history import payloads
from tests.support.wrong_server import ANSWERS, wrong_server_at

pytestmark = pytest.mark.proof


MIB = 1024 * 1024
# Between the first call that fails and the next one a test has the time to take the executor's place.
PATIENCE = {"EXECUTOR_TIMEOUT_MS": "1500", "EXECUTOR_MAX_RETRIES": "1", "EXECUTOR_RETRY_DELAY_MS": "3000"}


@pytest.fixture(scope="module")
def fleetlog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetlogServer]:
    with FleetlogServer(tmp_path_factory.mktemp("executors") / "home", **on_shared_postgres(), **PATIENCE) as server:
        yield server


def endpoint(server: FleetlogServer, session_id: str) -> tuple[int, int]:
    """Process id and port of a session's executor."""
    found = msgspec.json.decode((server.worker_folder(session_id) / "state/endpoint.json").read_bytes())
    port = urlsplit(found["url"]).port
    assert port
    return found["pid"], port


def assert_lost(server: FleetlogServer, run_id: str) -> None:
    last = server.history(run_id)[-1]["data"]
    assert (last["outcome"], last["error"]["errorClass"]) == ("failed", "executor_lost")
    assert last["error"]["message"]
    assert_none_left(run_id)


def assert_others_go_on(server: FleetlogServer) -> None:
    assert server.finished("echo fine", sessionId="neighbour")["snapshot"]["state"] == "succeeded"


@pytest.mark.parametrize("misbehaviour", ["hangs", "endless", "trickles", *ANSWERS])
def test_whatever_answers_in_an_executor_s_place_its_run_ends_with_the_reason(
    fleetlog: FleetlogServer, misbehaviour: str
) -> None:
    session = new_id("session")
    run_id = fleetlog.enqueued("echo kept > file; echo up; sleep 600", sessionId=session)
    fleetlog.until(run_id, "message.delta")
    pid, port = endpoint(fleetlog, session)

    os.kill(pid, signal.SIGKILL)
    with wrong_server_at(port, misbehaviour) as wrong_server:  # type: ignore[arg-type]  # the parameters are Misbehaviour
        assert_others_go_on(fleetlog)
        assert_lost(fleetlog, run_id)
        assert wrong_server.asked.is_set()

    assert peak_bytes(fleetlog.pid) < 600 * MIB
    again = fleetlog.finished("cat file", sessionId=session)["snapshot"]
    assert (again["state"], again["text"]) == ("succeeded", "kept\n")


def test_a_gate_sync_does_not_ask_what_answers_in_the_place_of_an_executor_that_has_ended(
    fleetlog: FleetlogServer,
) -> None:
    session = new_id("session")
    fleetlog.finished("echo kept > file", sessionId=session)
    pid, port = endpoint(fleetlog, session)

    os.kill(pid, signal.SIGKILL)
    with wrong_server_at(port, "401") as wrong_server:
        stopped = fleetlog.ok("POST", f"/api/session-workers/{session}/stop")
        assert not wrong_server.asked.is_set()

    assert stopped["worker"]["state"] == "stopped"
    history = fleetlog.stream(session)
    assert payloads(history, "session.sync_failed") == []
    assert payloads(history, "session.container_started")[-1]["purpose"] == "revival"


@pytest.mark.timeout(400)
def test_an_executor_that_stands_still_is_replaced_and_its_run_ends_with_the_reason(fleetlog: FleetlogServer) -> None:
    session = new_id("session")
    run_id = fleetlog.enqueued("while true; do echo up; sleep 0.5; done", sessionId=session)
    fleetlog.until(run_id, "message.delta")
    pid, _ = endpoint(fleetlog, session)

    os.kill(pid, signal.SIGSTOP)

    assert_others_go_on(fleetlog)
    fleetlog.client.timeout = 300
    assert_lost(fleetlog, run_id)
    assert fleetlog.finished("echo back", sessionId=session)["snapshot"]["state"] == "succeeded"
    assert endpoint(fleetlog, session)[0] != pid

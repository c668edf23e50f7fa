"""kill -9 of the control plane, and what the next start makes of it."""

import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import msgspec
import pytest

from tests.support.agent_processes import assert_none_left, processes_of
from tests.support.fleetlog_server import FleetlogServer
from tests.support.repair_lines import counted, repaired

pytestmark = pytest.mark.proof


@pytest.fixture
def own_fleetlog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetlogServer]:
    """With servers of its own, too: what is embedded goes through the same."""
    with FleetlogServer(tmp_path_factory.mktemp("own") / "home") as server:
        yield server


COUNTING = "for n in $(seq 1 40); do echo line $n; echo $n >> steps; sleep 0.1; done"


def journal_of(server: FleetlogServer, session_id: str) -> list[dict[str, object]]:
    """The executor's journal of the only run of a session."""
    (file,) = server.worker_folder(session_id).glob("state/runs/*/*/journal.ndjson")
    return [msgspec.json.decode(line) for line in file.read_bytes().splitlines()]


def assert_log_equals_journal(server: FleetlogServer, run_id: str, session_id: str) -> None:
    """No entry is missing or doubled in the log, and they are in order."""
    entries = journal_of(server, session_id)
    events = server.ok("GET", f"/api/streams/run:{run_id}/events", params={"limit": 500})["events"]
    wanted = [f"{run_id}/1/{entry['bootId']}/{entry['n']}" for entry in entries]
    recorded = [event for event in events if event["eventId"] in set(wanted)]
    assert [event["eventId"] for event in recorded] == wanted
    for entry, event in zip(entries, recorded, strict=True):
        payload = dict(event["payload"])
        payload.pop("leaseGeneration", None)
        assert (event["type"], payload) == (entry["type"], entry["payload"])


def test_a_run_survives_a_kill_of_the_server_in_its_middle(own_fleetlog: FleetlogServer) -> None:
    run_id = own_fleetlog.enqueued(COUNTING, sessionId="s")
    own_fleetlog.until(run_id, "message.delta")
    own_fleetlog.kill()

    own_fleetlog.start()

    last = own_fleetlog.history(run_id)[-1]
    assert (last["event"], last["data"]["outcome"]) == ("run.finished", "succeeded")
    assert_log_equals_journal(own_fleetlog, run_id, "s")
    steps = (own_fleetlog.worker_folder("s") / "workspace/steps").read_text().split()
    assert steps == [str(n) for n in range(1, 41)]


def test_a_keyed_command_whose_server_was_killed_is_handled_again_at_once(own_fleetlog: FleetlogServer) -> None:
    body, key = own_fleetlog.run_body("sleep 3", runId="r", sessionId="s"), {"idempotency-key": "k"}
    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(own_fleetlog.client.post, "/api/runs/start", json=body, headers=key)
        while own_fleetlog.client.get("/api/streams/run:r/events").status_code == 404:
            assert not first.done()
        own_fleetlog.kill()
        assert isinstance(first.exception(), httpx.TransportError)

    own_fleetlog.start()

    assert own_fleetlog.ok("POST", "/api/runs/start", json=body, headers=key)["snapshot"]["state"] == "succeeded"


def test_a_kill_between_the_commands_loses_nothing(own_fleetlog: FleetlogServer) -> None:
    own_fleetlog.finished("echo first > file", sessionId="s")
    own_fleetlog.kill()
    own_fleetlog.start()

    again = own_fleetlog.finished("cat file", sessionId="s")

    assert "first\n" in [event["payload"].get("text") for event in again["events"]]


@pytest.fixture
def lasting_fleetlog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetlogServer]:
    """A server of this test's own, whose running agents outlive it."""
    server = FleetlogServer(tmp_path_factory.mktemp("lasting") / "home")
    server.stop_workers = False
    with server:
        yield server


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_goes_on_while_the_server_is_stopped_and_the_next_start_ends_it(
    lasting_fleetlog: FleetlogServer, number: signal.Signals
) -> None:
    run_id = lasting_fleetlog.enqueued(COUNTING, sessionId="s")
    lasting_fleetlog.until(run_id, "message.delta")

    assert lasting_fleetlog.stop(number) == 0

    assert processes_of(run_id)
    said = next(line for line in lasting_fleetlog.log_tail().splitlines() if "--stop-workers ends them" in line)
    assert json.loads(said)["runs"] == [run_id]
    lasting_fleetlog.start()
    last = lasting_fleetlog.history(run_id)[-1]["data"]
    assert (last["outcome"], last["exported"]) == ("succeeded", True)
    assert_log_equals_journal(lasting_fleetlog, run_id, "s")
    steps = (lasting_fleetlog.worker_folder("s") / "workspace/steps").read_text().split()
    assert steps == [str(n) for n in range(1, 41)]


def test_a_question_may_wait_while_the_server_is_stopped(lasting_fleetlog: FleetlogServer) -> None:
    question = (
        """echo '::fleetlog {"type": "question", "questionId": "q", "prompt": "?"}'; read -r answer; echo "$answer" """
    )
    run_id = lasting_fleetlog.enqueued(question, sessionId="s", providerOptions={"interactive": True})
    lasting_fleetlog.until(run_id, "human_loop.requested")
    lasting_fleetlog.stop()

    lasting_fleetlog.start()

    reply = {"runId": run_id, "questionId": "q", "answer": "still here"}
    assert lasting_fleetlog.ok("POST", "/api/human-loop/reply", json=reply)["status"] == "resolved"
    history = lasting_fleetlog.history(run_id)
    assert "still here\n" in [frame["data"].get("text") for frame in history]
    assert [frame["event"] for frame in history].count("human_loop.requested") == 1


def test_stop_workers_ends_running_agents_with_the_server_and_their_runs_fail(own_fleetlog: FleetlogServer) -> None:
    run_id = own_fleetlog.enqueued(COUNTING, sessionId="s")
    own_fleetlog.until(run_id, "message.delta")

    assert own_fleetlog.stop() == 0

    assert processes_naming(own_fleetlog.home) == []
    assert_none_left(run_id)
    own_fleetlog.start()
    assert own_fleetlog.history(run_id)[-1]["data"]["outcome"] == "failed"


def test_ctrl_c_leaves_no_process_and_the_next_start_finds_the_data(lasting_fleetlog: FleetlogServer) -> None:
    own_fleetlog = lasting_fleetlog
    own_fleetlog.finished("echo kept > file", sessionId="s", runId="r")
    folder = own_fleetlog.worker_folder("s")

    assert own_fleetlog.stop() == 0

    assert processes_naming(own_fleetlog.home) == []
    own_fleetlog.start()
    assert own_fleetlog.ok("GET", "/api/runs/r")["state"] == "succeeded"
    assert (folder / "workspace/file").read_text() == "kept\n"
    again = own_fleetlog.finished("cat file", sessionId="s")
    assert again["snapshot"]["state"] == "succeeded"


def test_an_executor_that_was_killed_is_revived_and_its_run_ends_with_the_reason(
    own_fleetlog: FleetlogServer,
) -> None:
    run_id = own_fleetlog.enqueued(COUNTING, sessionId="s")
    own_fleetlog.until(run_id, "message.delta")
    endpoint = msgspec.json.decode((own_fleetlog.worker_folder("s") / "state/endpoint.json").read_bytes())

    os.kill(endpoint["pid"], 9)

    last = own_fleetlog.history(run_id)[-1]["data"]
    assert (last["outcome"], last["error"]["errorClass"]) == ("failed", "executor_lost")
    assert last["exported"]
    (line,) = repaired(own_fleetlog, "executor_died", sessionId="s")
    events = own_fleetlog.ok("GET", "/api/streams/session:s/events")["events"]
    (revival,) = [event for event in events if event["payload"].get("purpose") == "revival"]
    assert (line["level"], line["traceId"]) == ("warning", revival["metadata"]["traceId"])
    assert line["commandId"] == revival["eventId"]
    assert counted(own_fleetlog, "executor_died") == 1
    assert own_fleetlog.finished("wc -l < steps", sessionId="s")["snapshot"]["state"] == "succeeded"


def processes_naming(home: Path) -> list[str]:
    """The command lines of living processes that name this home."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(home) in line:
            found.append(line)
    return found


def recorded_pid(file: Path) -> int | None:
    try:
        return int(file.read_text().split()[0])
    except (FileNotFoundError, IndexError):
        return None


def is_ready(server: FleetlogServer) -> bool:
    return server.client.get("/ready").status_code == 200


@pytest.mark.parametrize("pid_file", ["postgres/data/postmaster.pid", "s3.pid"])
def test_an_embedded_server_that_was_killed_is_started_again_under_a_run(
    own_fleetlog: FleetlogServer, pid_file: str
) -> None:
    run_id = own_fleetlog.enqueued(COUNTING, sessionId="s")
    own_fleetlog.until(run_id, "message.delta")

    killed = recorded_pid(own_fleetlog.home / pid_file)
    assert killed
    os.kill(killed, 9)

    deadline = time.monotonic() + 120
    while recorded_pid(own_fleetlog.home / pid_file) in {None, killed} or not is_ready(own_fleetlog):
        assert time.monotonic() < deadline, own_fleetlog.log_tail()
        time.sleep(0.05)
    last = own_fleetlog.history(run_id)[-1]
    assert (last["event"], last["data"]["outcome"], last["data"]["exported"]) == ("run.finished", "succeeded", True)
    assert_log_equals_journal(own_fleetlog, run_id, "s")
    assert (own_fleetlog.worker_folder("s") / "workspace/steps").read_text().split() == [str(n) for n in range(1, 41)]
    assert own_fleetlog.ok("POST", "/api/session-workers/s/stop")["worker"]["state"] == "stopped"
    (line,) = repaired(own_fleetlog, "embedded_server")
    assert line["level"] == "warning"
    assert line["message"].endswith(" had ended: it runs again"), line
    assert counted(own_fleetlog, "embedded_server") == 1


@pytest.mark.parametrize("at", ["session.restore_requested", "session.stopped", "session.removing"])
def test_a_restore_goes_on_after_a_kill_in_its_middle(own_fleetlog: FleetlogServer, at: str) -> None:
    path = "/api/session-workers/s"
    own_fleetlog.finished("echo first > file; touch gone", sessionId="s")
    own_fleetlog.ok("POST", f"{path}/sync")
    first = own_fleetlog.ok("GET", f"{path}/syncs")["items"][0]["position"]
    own_fleetlog.finished("echo second > file; rm gone", sessionId="s")

    answer = own_fleetlog.client.post(f"{path}/restore", json={"syncPosition": first}, params={"waitMs": 0})
    assert (answer.status_code, answer.json()["pending"]) == (202, True)
    own_fleetlog.session_events("s", at)
    own_fleetlog.kill()
    own_fleetlog.start()

    events = own_fleetlog.session_events("s", "session.activated", nth=2)
    order = ["session.restore_requested", "session.stopping", "session.removing", "session.workspace_rewound"]
    assert [name for name in events if name in order] == order
    worker = own_fleetlog.activate("s")["worker"]
    assert (worker["state"], worker["generation"], worker["restoringSyncPosition"]) == ("running", 2, None)
    workspace = own_fleetlog.worker_folder("s") / "workspace"
    assert ((workspace / "file").read_text(), (workspace / "gone").exists()) == ("first\n", True)
    latest = own_fleetlog.ok("GET", f"{path}/syncs")["items"][0]["position"]
    kept = own_fleetlog.client.get(f"{path}/workspace/file", params={"path": "/workspace/file", "syncPosition": latest})
    assert kept.content == b"second\n"

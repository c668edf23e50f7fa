"""Runs that wait, over a kill of the whole control plane; and work that takes long, beside work that must not wait."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from application import executor_protocol as protocol
from domain.workspace.sync import SyncRef
from tests.support.fault_proxy import FaultProxy
from tests.support.fleetlog_parts import on_shared_postgres
from tests.support.fleetlog_server import FleetlogServer
from tests.support.repair_lines import counted, repaired

pytestmark = [pytest.mark.proof, pytest.mark.timeout(300)]
PATIENCE_S = 60
QUESTION = json.dumps({"type": "question", "questionId": "q", "prompt": "Go on?"})
ASKING = f"echo '::fleetlog {QUESTION}'; read -r answer; echo \"you said $answer\""
INTERACTIVE = {"providerOptions": {"interactive": True}}


def until(holds: Callable[[], object]) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not (found := holds()):
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)
    return found


def queue_item(server: FleetlogServer, run_id: str) -> dict[str, Any]:
    return dict(server.ok("GET", f"/api/runs/queue/{run_id}"))


def waits_for(server: FleetlogServer, run_id: str, what: str) -> bool:
    item = queue_item(server, run_id)
    assert item["attempts"] <= 1
    return (item["state"], item["waitsFor"], item["leaseOwner"]) == ("waiting", what, None)


def types(server: FleetlogServer, run_id: str) -> list[str]:
    return [frame["event"] for frame in server.history(run_id)]


@pytest.fixture
def own_fleetlog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetlogServer]:
    """With room for three session workers."""
    home = tmp_path_factory.mktemp("own") / "home"
    with FleetlogServer(home, **on_shared_postgres(), MAX_WORKERS="3", RUN_QUEUE_LOCK_MS="2000") as server:
        yield server


def test_waiting_runs_survive_a_kill_of_everything_and_each_goes_on_by_what_it_waits_for(
    own_fleetlog: FleetlogServer,
) -> None:
    server = own_fleetlog
    for name in ("answered", "canceled", "bereft"):
        server.enqueued(ASKING, runId=name, sessionId=name, **INTERACTIVE)
    for name in ("answered", "canceled", "bereft"):
        until(partial(waits_for, server, name, "person"))
    server.enqueued("echo there was a place", runId="placeless", sessionId="placeless")
    until(partial(waits_for, server, "placeless", "place"))
    assert queue_item(server, "placeless")["place"] == 1
    assert server.ok("GET", "/api/runs/answered")["state"] == "waiting_human"
    folder = server.worker_folder("bereft")
    server.kill()
    kill_executor(folder)

    server.start()

    # Nobody has asked anything of it, and no event tells: a look finds that its executor has died.
    bereft = server.history("bereft")[-1]
    assert (bereft["event"], bereft["data"]["outcome"]) == ("run.finished", "failed")
    (line,) = repaired(server, "parked_run", runId="bereft")
    assert (line["level"], line["sessionId"], line["waitsFor"]) == ("info", "bereft", "person")
    assert counted(server, "parked_run") >= 1
    for name in ("answered", "canceled", "placeless"):
        assert queue_item(server, name)["state"] == "waiting", name
    reply = {"runId": "answered", "questionId": "q", "answer": "yes"}
    assert server.ok("POST", "/api/human-loop/reply", json=reply)["status"] == "resolved"
    server.ok("POST", "/api/runs/canceled/stop")
    assert server.history("canceled")[-1]["data"]["outcome"] == "canceled"
    answered = server.history("answered")
    assert "you said yes\n" in [frame["data"].get("text") for frame in answered]
    assert answered[-1]["data"]["outcome"] == "succeeded"
    assert [frame["event"] for frame in answered].count("run.started") == 1
    server.ok("POST", "/api/session-workers/answered/stop")
    assert server.history("placeless")[-1]["data"]["outcome"] == "succeeded"
    assert types(server, "placeless").count("run.started") == 1


def kill_executor(folder: Path) -> None:
    pid = json.loads((folder / "state/endpoint.json").read_text())["pid"]
    os.kill(pid, signal.SIGKILL)


SYNCED = protocol.SyncResult(sync=SyncRef(manifest_key="p/manifests/1-1-0.json", manifest_hash="0" * 64))
RUN = protocol.RunState(run_id="asks", attempt=1, boot_id="the only one", entries=1, finished=False)
ASKED = {
    "n": 1,
    "bootId": "the only one",
    "attempt": 1,
    "type": "human_loop.requested",
    "payload": {"questionId": "q"},
    "ts": "2026-01-01T00:00:00Z",
}
ANSWERS: dict[str, object] = {
    "^GET /health$": {"ok": True, "protocolVersion": 1, "bootId": "the only one"},
    "^POST /workspace/restore$": protocol.RestoreResult(),
    "^POST /workspace/link-agent-data$": protocol.LinkResult(),
    "^POST /workspace/validate$": protocol.ValidateResult(ok=True),
    "^POST /workspace/sync$": SYNCED,
    "^POST /provider-runs/start$": RUN,
    "^GET /provider-runs/asks/stream": ASKED,
    "^GET /provider-runs/asks$": RUN,
}
"""Of an executor for all sessions whose agent asks and waits."""
SLOW_SYNCS = 16


def test_sixteen_slow_syncs_delay_no_activation_no_stop_and_no_reply(tmp_path: Path) -> None:
    """Nor do more, which wait for their slots; those that a stop waits for have slots of their own."""
    with FaultProxy() as executor, ExitStack() as ways:
        own = {"EXECUTOR_BASE_URL": executor.url, "EXECUTOR_AUTH_TOKEN": "t"}
        server = ways.enter_context(FleetlogServer(tmp_path / "home", **on_shared_postgres(), **own))
        slow = ways.enter_context(executor.fault("^POST /workspace/sync$", "hang", times=SLOW_SYNCS))
        for where, answer in ANSWERS.items():
            body = msgspec.json.encode(answer) + b"\n"
            ways.enter_context(executor.fault(where, "answer", status=200, body=body))
        replies = ways.enter_context(executor.fault("human-loop/reply$", "answer", status=200, body=b"{}"))
        sessions = [f"s{number}" for number in range(SLOW_SYNCS + 4)]
        for session_id in (*sessions, "to-stop"):
            server.activate(session_id)
        server.enqueued(":", runId="asks", sessionId="asks", **INTERACTIVE)
        until(lambda: server.ok("GET", "/api/runs/asks")["state"] == "waiting_human")
        for session_id in sessions:
            server.ok("POST", f"/api/session-workers/{session_id}/sync", params={"waitMs": 0})
        until(lambda: slow.hits == SLOW_SYNCS)

        began = time.monotonic()
        assert server.activate("late")["worker"]["state"] == "running"
        stopped = server.ok("POST", "/api/session-workers/to-stop/stop", params={"waitMs": 10_000})
        assert stopped["worker"]["state"] == "stopped"
        reply = {"runId": "asks", "questionId": "q", "answer": "yes"}
        server.ok("POST", "/api/human-loop/reply", json=reply, params={"waitMs": 0})
        assert replies.happened.wait(10)
        assert time.monotonic() - began < 10
        waiting = [server.ok("GET", f"/api/session-workers/{each}")["lastSyncStatus"] for each in sessions]
        assert waiting == ["running"] * len(sessions)

"""Agents that hang, flood, vanish, multiply or fill the disk: each run ends with a reason, and no other one notices."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from infrastructure import process_tree
from tests.support.agent_processes import assert_none_left, processes_of
from tests.support.fleetlog_parts import on_shared_postgres
from tests.support.fleetlog_server import FleetlogServer, new_id
from tests.support.memory import peak_bytes

pytestmark = pytest.mark.proof


MIB = 1024 * 1024
SILENCE = {"RUN_SILENCE_TIMEOUT_MS": "10000"}
FEW_FILES = {"MAX_WORKSPACE_FILES": "3000"}


@pytest.fixture(scope="module")
def fleetlog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetlogServer]:
    home = tmp_path_factory.mktemp("misbehaving") / "home"
    with FleetlogServer(home, **on_shared_postgres(), **SILENCE, **FEW_FILES) as server:
        end_of_a_neighbour(server)  # its worker runs from now on
        yield server


def executor_pid(server: FleetlogServer, session_id: str) -> int:
    endpoint = server.worker_folder(session_id) / "state/endpoint.json"
    return int(msgspec.json.decode(endpoint.read_bytes())["pid"])


def end_of(server: FleetlogServer, run_id: str) -> Any:
    """The last event of a run; nothing of its agent is left then."""
    last = server.history(run_id)[-1]["data"]
    assert last["type"] == "run.finished"
    assert_none_left(run_id)
    return last


def end_of_a_neighbour(server: FleetlogServer) -> int:
    """The position at which a run of another session has ended well."""
    answer = server.finished("echo fine", sessionId="neighbour")
    assert answer["snapshot"]["state"] == "succeeded"
    return int(answer["events"][-1]["position"])


def test_an_agent_that_hangs_is_ended_with_the_reason(fleetlog: FleetlogServer) -> None:
    deaf = "trap '' TERM INT HUP; echo up; while true; do sleep 100; done"
    run_id = fleetlog.enqueued(deaf)
    fleetlog.until(run_id, "message.delta")

    neighbour = end_of_a_neighbour(fleetlog)
    last = end_of(fleetlog, run_id)

    assert neighbour < last["position"]
    assert (last["outcome"], last["error"]["errorClass"]) == ("failed", "timeout")
    assert last["error"]["message"] == (
        "the agent was silent for more than 10 s and was ended; RUN_SILENCE_TIMEOUT_MS is the limit"
    )


@pytest.mark.parametrize(
    ("script", "outcome", "reason"),
    [
        ("exit 0", "succeeded", ""),
        ("exit 7", "failed", "exit code 7"),
        ("kill -9 $$", "failed", "signal 9"),
        ("no-such-command", "failed", "no-such-command: command not found"),
        ("if then fi (", "failed", "syntax error"),
        ("rm -rf ../workspace; exit 3", "failed", "exit code 3"),
    ],
)
def test_an_agent_that_exits_at_once_says_how(fleetlog: FleetlogServer, script: str, outcome: str, reason: str) -> None:
    run_id = fleetlog.enqueued(script)

    last = end_of(fleetlog, run_id)

    assert last["outcome"] == outcome
    assert last.get("error", {}).get("errorClass", "") == ("script_failed" if reason else "")
    assert reason in last.get("error", {}).get("message", "")


def test_garbage_is_text_and_harms_nobody(fleetlog: FleetlogServer) -> None:
    lines = 'printf \'::fleetlog {\\n::fleetlog null\\n::fleetlog {"type":"run.finished"}\\n::fleetlog \\377\\376\\n\''
    answer = fleetlog.finished(f"head -c 300000 /dev/urandom; echo; {lines}; head -c 300000 /dev/urandom >&2; echo end")

    assert answer["snapshot"]["state"] == "succeeded"
    codes = [warning["code"] for warning in answer["snapshot"]["warnings"]]
    assert codes == ["malformed_line", "malformed_line", "unknown_line", "malformed_line"]
    assert answer["snapshot"]["text"].endswith("end\n")
    end_of_a_neighbour(fleetlog)


def reports(lines: str) -> str:
    """A script that reports what a Python expression yields: dicts, one a line."""
    program = f"import json\nfor line in {lines}: print('::fleetlog ' + json.dumps(line))"
    return f"python3 -c {shlex.quote(program)}"


def test_an_agent_that_asks_without_end_is_ended_by_the_name_of_the_quota(fleetlog: FleetlogServer) -> None:
    questions = reports("({'type': 'question', 'questionId': f'q{n}'} for n in range(20000))")
    run_id = fleetlog.enqueued(f"{questions}; read -r answer", providerOptions={"interactive": True})

    last = end_of(fleetlog, run_id)

    assert (last["outcome"], last["error"]["errorClass"]) == ("failed", "quota_exceeded")
    assert "MAX_OPEN_QUESTIONS_PER_RUN allows 100" in last["error"]["message"]
    assert fleetlog.ok("GET", "/api/human-loop/pending", params={"runId": run_id})["total"] == 0
    end_of_a_neighbour(fleetlog)


def test_what_an_agent_reports_too_long_or_too_deep_is_cut_and_the_run_says_so(fleetlog: FleetlogServer) -> None:
    longer = "{'type': 'todo.snapshot', 'todos': [{'todoId': f't{n}', 'content': 'x' * 60} for n in range(5000)]}"
    one = "{'type': 'todo.update', 'todo': {'todoId': 't1', 'content': 'x', 'status': 'done'}}"
    deep = "{'type': 'tool.end', 'toolId': 't', 'output': json.loads('[' * 400 + ']' * 400)}"
    answer = fleetlog.finished(reports(f"({longer}, {one}, {deep})"))

    run_id, snapshot = answer["runId"], answer["snapshot"]
    assert snapshot["state"] == "succeeded"
    assert [warning["code"] for warning in snapshot["warnings"]] == ["todos_left_out"]
    assert snapshot["warnings"][0]["message"].startswith("4000 todos are left out")
    listed = fleetlog.ok("GET", f"/api/runs/{run_id}/todos", params={"minPosition": answer["events"][-1]["position"]})
    assert (listed["total"], listed["leftOut"], listed["items"][1]["status"]) == (1000, 4000, "done")
    (tool,) = [event for event in answer["events"] if event["type"] == "tool.end"]
    assert tool["payload"]["output"] == "[" * 400 + "]" * 400


def test_a_workspace_with_too_many_files_is_named_and_can_be_given_up(fleetlog: FleetlogServer) -> None:
    session = new_id("session")
    kept = fleetlog.finished("echo kept > kept", sessionId=session)
    assert kept["snapshot"]["exported"]

    flooded = fleetlog.finished("for n in $(seq 4000); do : > f$n; done", sessionId=session)

    assert (flooded["snapshot"]["state"], flooded["snapshot"]["exported"]) == ("succeeded", False)
    (warning,) = flooded["snapshot"]["warnings"]
    assert warning["code"] == "not_exported"
    assert "more than 3,000 files, links and folders (MAX_WORKSPACE_FILES)" in warning["message"]
    path = f"/api/session-workers/{session}"
    refused = fleetlog.client.post(f"{path}/stop", json={})
    assert (refused.status_code, refused.json()["reason"]) == (409, "sync_failed")
    assert "MAX_WORKSPACE_FILES" in refused.json()["detail"]
    unexplained = fleetlog.client.post(f"{path}/discard-workspace", json={"reason": ""})
    assert (unexplained.status_code, unexplained.json()["errors"][0]["field"]) == (400, "reason")

    discarded = fleetlog.ok("POST", f"{path}/discard-workspace", json={"reason": "a loop made files"})

    assert discarded["worker"]["state"] == "deleted"
    events = fleetlog.ok("GET", f"/api/streams/session:{session}/events")["events"]
    (audited,) = [event for event in events if event["type"] == "session.workspace_discarded"]
    assert (audited["payload"]["reason"], audited["metadata"]["actor"]) == ("a loop made files", "anonymous")
    assert "MAX_WORKSPACE_FILES" in audited["payload"]["lastSyncError"]
    again = fleetlog.finished("ls", sessionId=session)
    assert (again["snapshot"]["text"].split(), again["snapshot"]["exported"]) == (["kept"], True)


@pytest.mark.timeout(300)
def test_100_mb_in_one_line_are_cut_and_cost_bounded_memory(fleetlog: FleetlogServer) -> None:
    session = new_id("session")
    flood = "head -c 100000000 /dev/zero | tr '\\0' x"
    run_id = fleetlog.enqueued(f"{flood}; echo; printf '::fleetlog '; {flood}; echo", sessionId=session)
    fleetlog.until(run_id, "message.delta")

    neighbour = end_of_a_neighbour(fleetlog)
    last = end_of(fleetlog, run_id)

    assert neighbour < last["position"]
    assert last["outcome"] == "succeeded"
    codes = [warning["code"] for warning in fleetlog.ok("GET", f"/api/runs/{run_id}")["warnings"]]
    assert sorted(codes) == ["line_too_long", "output_cut"]
    assert peak_bytes(executor_pid(fleetlog, session)) < 300 * MIB
    assert peak_bytes(fleetlog.pid) < 600 * MIB


def test_what_an_agent_leaves_behind_ends_with_it(fleetlog: FleetlogServer) -> None:
    script = "for n in $(seq 30); do setsid sleep 1000 & sleep 1000 & nohup sleep 1000 > /dev/null & done; echo up"
    run_id = fleetlog.enqueued(script)

    assert end_of(fleetlog, run_id)["outcome"] == "succeeded"


def test_an_agent_that_forks_away_again_and_again_is_caught(fleetlog: FleetlogServer) -> None:
    hop = (
        "printf '%s\\n' 'sleep 0.01' 'setsid bash hop &' > hop; setsid bash hop & setsid bash hop & echo up; sleep 600"
    )
    run_id = fleetlog.enqueued(hop)
    fleetlog.until(run_id, "message.delta")
    assert processes_of(run_id)

    neighbour = end_of_a_neighbour(fleetlog)
    fleetlog.ok("POST", f"/api/runs/{run_id}/stop")

    last = end_of(fleetlog, run_id)
    assert (last["outcome"], neighbour < last["position"]) == ("canceled", True)
    end_of_a_neighbour(fleetlog)


def test_a_process_whose_first_thread_has_ended_is_ended_with_the_others(fleetlog: FleetlogServer) -> None:
    looks_dead = (
        "import ctypes, os, threading, time; threading.Thread(target=time.sleep, args=(600,)).start(); "
        "print('pid', os.getpid(), flush=True); ctypes.CDLL(None).pthread_exit(None)"
    )
    run_id = fleetlog.enqueued(f'setsid python3 -c "{looks_dead}" & wait')

    pid = int(fleetlog.until(run_id, "message.delta")[-1]["data"]["text"].split()[1])
    assert process_tree.process_info(pid) is not None
    fleetlog.ok("POST", f"/api/runs/{run_id}/stop")

    assert end_of(fleetlog, run_id)["outcome"] == "canceled"
    assert process_tree.process_info(pid) is None


def own_mounts() -> bool:
    """Whether this machine lets us mount a small disk that nobody else sees."""
    tool = shutil.which("unshare")
    mount = [tool or "", "-m", "mount", "-t", "tmpfs", "none", "/mnt"]
    return tool is not None and subprocess.run(mount, capture_output=True, check=False).returncode == 0


def required_mounts() -> None:
    """Skip where no small disk can be mounted; fail there with CI=true."""
    if own_mounts():
        return
    if os.environ.get("CI") == "true":
        pytest.fail("a small disk can't be mounted here; that needs root and mount namespaces")
    pytest.skip("a small disk can't be mounted here")


def test_an_agent_that_fills_its_disk_ends_with_advice_and_the_next_run_may_clean_up(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    required_mounts()
    home = tmp_path_factory.mktemp("small") / "home"
    (home / "workers").mkdir(parents=True)
    server = FleetlogServer(home, **on_shared_postgres())
    mount = f"mount -t tmpfs -o size=24m none {home}/workers"
    server.prefix = ("unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh")
    with server:
        filling = "echo begins; sync; cat /dev/zero > filler; for n in $(seq 5000); do echo line $n; done; sleep 600"
        run_id = server.enqueued(filling, sessionId="s")

        last = end_of(server, run_id)

        assert (last["outcome"], last["error"]["errorClass"]) == ("failed", "executor_lost")
        assert "the worker's disk is full" in last["error"]["message"]
        assert "delete what is not needed" in last["error"]["message"]
        workspace = Path(f"/proc/{server.pid}/root{home}/workers")
        (filler,) = workspace.glob("*/workspace/filler")
        filler.unlink()
        again = server.finished("echo room again", sessionId="s")["snapshot"]
        assert (again["state"], again["exported"]) == ("succeeded", True)

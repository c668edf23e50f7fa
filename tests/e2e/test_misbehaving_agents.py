"""Agents that hang, flood, vanish, multiply or fill the disk: each run ends with a reason, and no other one notices."""

import os
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


@pytest.fixture(scope="module")
def fleetlog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetlogServer]:
    with FleetlogServer(tmp_path_factory.mktemp("misbehaving") / "home", **on_shared_postgres(), **SILENCE) as server:
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

"""How an executor begins and ends, and what it finds after it was killed."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time

import pytest

from tests.integration.executor.trees import snapshot
from tests.integration.executor.worker import ROOT, is_alive, text_of, types_of


def test_the_endpoint_is_written_once_it_serves_and_taken_away_at_the_end(make_worker):
    worker = make_worker().start()
    assert set(worker.endpoint) == {"url", "bootId", "pid"}
    assert worker.endpoint["pid"] == worker.process.pid
    assert worker.http.get("/health").json() == {
        "ok": True, "protocolVersion": 2, "bootId": worker.endpoint["bootId"], "sessionId": "s1", "generation": 1,
        "restored": False, "maintenance": False, "activeRuns": [],
    }  # fmt: skip
    for path in [worker.state, *worker.state.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path
    worker.process.terminate()
    assert worker.wait_for_exit(10) == 0
    assert not (worker.state / "endpoint.json").exists()


@pytest.mark.parametrize(
    ("content", "mode", "complaint"),
    [("{}", 0o644, "chmod 600"), ("{}", 0o600, "sessionId"), ("not json", 0o600, "no executor configuration")],
)
def test_a_configuration_that_can_not_be_used_stops_the_start(tmp_path, content, mode, complaint):
    path = tmp_path / "c.json"
    path.write_text(content)
    path.chmod(mode)
    assert complaint in _refused(path)


def test_a_configuration_that_is_not_there_stops_the_start(tmp_path):
    assert "No such file" in _refused(tmp_path / "none.json")


def _refused(path):
    command = [sys.executable, "-m", "interfaces.executor", "--config", str(path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    return ended.stderr


@pytest.mark.proof
def test_two_executors_never_serve_one_folder(make_worker):
    worker = make_worker().start()
    assert "another executor" in _refused(worker.folder / "executor.json")
    assert worker.http.get("/health").status_code == 200


@pytest.mark.proof
def test_it_ends_by_itself_when_nobody_needs_it(make_worker):
    worker = make_worker(idleExitS=1).start()
    worker.restore()
    worker.start_run("sleep 1.5")
    assert worker.journal()[-1]["payload"]["outcome"] == "succeeded"
    # Calls without the token keep nobody up.
    assert worker.http.get("/health", headers={"authorization": "Bearer wrong"}).status_code == 200
    assert worker.wait_for_exit(5) == 0


def test_sigterm_ends_agents_and_gives_journals_their_last_entry(make_worker):
    worker = make_worker().start()
    worker.restore()
    worker.start_run('echo $$; echo \'::fleetlog {"type":"question","questionId":"q"}\'; sleep 600', interactive=True)
    with worker.following() as entries:
        pid = int(next(entries)["payload"]["text"])
        next(entries)
        worker.process.terminate()
        rest = list(entries)
    assert types_of(rest)[-2:] == ["human_loop.canceled", "run.agent_finished"]
    assert rest[-1]["payload"]["outcome"] == "failed"
    assert worker.wait_for_exit(10) == 0
    assert not is_alive(pid)


def test_after_a_kill_the_journal_goes_on_where_it_was(make_worker):
    worker = make_worker().start()
    worker.restore()
    worker.start_run(
        """
        echo $$
        (env -i setsid sleep 601 & echo $!)
        setsid sleep 602 & echo $!
        echo '::fleetlog {"type":"question","questionId":"q"}'
        sleep 600
        """,
        interactive=True,
    )
    before = []
    with worker.following() as entries:
        while "human_loop.requested" not in types_of(before):
            before.append(next(entries))
    pids = [int(word) for word in text_of(before).split()]
    first_boot = worker.endpoint["bootId"]
    worker.kill()

    worker.start()
    assert worker.endpoint["bootId"] != first_boot
    assert worker.http.get("/health").json()["restored"] is True
    after = worker.journal()
    assert after[: len(before)] == before
    rest = after[len(before) :]
    assert types_of(rest)[-2:] == ["human_loop.expired", "run.agent_finished"]
    assert rest[-1]["payload"]["error"]["errorClass"] == "executor_lost"
    assert rest[-1]["bootId"] == worker.endpoint["bootId"]
    assert [entry["n"] for entry in after] == list(range(1, len(after) + 1))
    assert worker.journal(cursor=len(before)) == rest
    assert worker.run_state()["finished"] is True
    assert not [pid for pid in (pids[0], pids[2]) if is_alive(pid)]
    assert text_of(worker.run("echo next")) == "next\n"
    if is_alive(pids[1]):  # it cleaned its environment and left its group: only a container's own end reaches it
        os.kill(pids[1], signal.SIGKILL)


def test_a_boot_leaves_the_agents_of_another_installation_alone(make_worker):
    """One with a session of the same name, in a container of the same name."""
    first = make_worker(containerId="c").start()
    first.restore()
    first.start_run("echo up; read -r line; echo $line", interactive=True)
    with first.following() as entries:
        assert text_of([next(entries)]) == "up\n"

    second = make_worker(containerId="c").start()
    second.restore()
    assert text_of(second.run("echo mine")) == "mine\n"

    assert first.run_state()["finished"] is False


@pytest.mark.proof
def test_whatever_was_served_before_a_kill_is_there_after_it(make_worker):
    worker = make_worker().start()
    worker.restore()
    worker.start_run("i=0; while true; do echo line $i; i=$((i+1)); done")
    served = []

    def read():
        try:
            with worker.following() as entries:
                served.extend(entries)
        except Exception:  # noqa: BLE001
            pass

    reader = threading.Thread(target=read)
    reader.start()
    while len(served) < 200:
        assert reader.is_alive() or served
        time.sleep(0.01)
    worker.process.kill()
    worker.process.wait(10)
    reader.join(20)
    worker.start()
    assert worker.journal()[: len(served)] == served


def test_a_torn_last_line_is_cut_off(make_worker):
    worker = make_worker().start()
    worker.restore()
    worker.start_run("echo one; sleep 600")
    with worker.following() as entries:
        first = next(entries)
    worker.kill()
    [journal] = worker.state.glob("runs/*/1/journal.ndjson")
    with journal.open("ab") as file:
        file.write(b'{"n":2,"bootId":"x","type":"message.del')
    worker.start()
    entries = worker.journal()
    assert entries[0] == first
    assert types_of(entries) == ["message.delta", "run.agent_finished"]


def test_the_real_home_is_neither_read_nor_written(make_worker):
    worker = make_worker()
    for name in (".codex", ".claude"):
        (worker.real_home / name).mkdir()
        (worker.real_home / name / "auth.json").write_text("mine")
    (worker.real_home / ".bashrc").write_text("echo READ")
    (worker.real_home / ".profile").write_text("echo READ")
    (worker.real_home / ".aws").mkdir()
    (worker.real_home / ".aws" / "credentials").write_text("[default]\naws_access_key_id=bad\n")
    before = snapshot(worker.real_home, leave_out=())
    times = {path: path.stat().st_mtime_ns for path in [worker.real_home, *worker.real_home.rglob("*")]}
    worker.start(BASH_ENV=str(worker.real_home / ".bashrc"), ENV=str(worker.real_home / ".profile"))
    worker.restore()
    entries = worker.run("echo ~; echo state > ~/.codex/s; echo x > ~/note; ls -A ~/.claude; bash -ic 'echo shell'")
    assert "READ" not in text_of(entries)
    assert text_of(entries, "stdout").split() == [str(worker.home), "shell"]
    worker.sync(gate=True, reason="pre.stop")
    worker.process.terminate()
    worker.wait_for_exit(10)
    assert snapshot(worker.real_home, leave_out=()) == before
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert (worker.workspace / ".agent_data/codex/s").read_text() == "state\n"
    assert stat.S_IMODE(worker.home.stat().st_mode) == 0o700


def test_agent_data_found_in_the_home_moves_into_the_workspace(make_worker):
    worker = make_worker()
    (worker.home / ".codex/sessions").mkdir(parents=True)
    (worker.home / ".codex/sessions/s").write_text("from home")
    (worker.home / ".codex/config.toml").write_text("from home")
    (worker.home / ".claude").symlink_to("/nowhere")
    worker.start()
    worker.restore()
    assert (worker.workspace / ".agent_data/codex/sessions/s").read_text() == "from home"
    for name in ("codex", "claude", "opencode"):
        assert (worker.home / f".{name}").readlink() == worker.workspace / ".agent_data" / name
    answer = worker.post("/workspace/link-agent-data").json()
    assert answer == {"ok": True, "linked": ["~/.claude", "~/.codex", "~/.opencode"], "migrated": []}
    (worker.home / ".codex").unlink()
    (worker.home / ".codex").mkdir()
    (worker.home / ".codex/config.toml").write_text("other")
    assert worker.post("/workspace/link-agent-data").json()["migrated"] == ["~/.codex"]
    assert (worker.workspace / ".agent_data/codex/config.toml").read_text() == "from home"
    assert (worker.workspace / ".agent_data/codex/config.toml.from-home").read_text() == "other"


def test_log_lines_are_json_with_the_trace_of_their_call(make_worker):
    worker = make_worker().start()
    trace = {"x-trace-id": "t1", "x-trace-session-id": "s1", "x-trace-run-id": "r7", "x-trace-operation": "probe"}
    worker.http.get("/provider-runs/none", headers=trace)
    traceparent = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    refused = worker.http.get("/provider-runs/none", headers=traceparent)
    assert refused.json()["traceId"] == "0af7651916cd43dd8448eb211c80319c"
    lines = [json.loads(line) for line in worker.log().splitlines()]
    [line] = [line for line in lines if line.get("traceId") == "t1"]
    assert {"time", "level", "message"} <= set(line)
    assert (line["sessionId"], line["runId"], line["operation"]) == ("s1", "r7", "probe")
    assert worker.config["token"] not in worker.log()


def test_taking_the_log_writes_no_line_that_would_be_taken_next(make_worker):
    worker = make_worker().start()
    worker.http.get("/provider-runs/none")
    messages = [line["message"] for line in worker.post("/log/take").json()["lines"]]
    assert any(message.startswith("GET /provider-runs/none 404") for message in messages)
    assert worker.post("/log/take").json() == {"lines": [], "lost": 0}
    read = worker.http.get("/log").json()["lines"]
    assert [line["message"] for line in read][: len(messages)] == messages


def test_a_boot_makes_no_workspace_where_a_restored_one_was(worker):
    worker.kill()
    worker.workspace.rename(worker.folder / "lost")

    ended = subprocess.run(
        [sys.executable, "-m", "interfaces.executor", "--config", str(worker.folder / "executor.json")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )

    assert ended.returncode == 2
    assert "the workspace's folder is gone" in ended.stderr
    assert not worker.workspace.exists()


def test_an_executor_whose_folder_was_removed_ends(worker):
    worker.start_run("sleep 600 & echo $!; wait")
    with worker.following() as entries:
        agent = int(next(entries)["payload"]["text"])

    shutil.rmtree(worker.state)

    assert worker.wait_for_exit(20) == 0
    assert not is_alive(agent)

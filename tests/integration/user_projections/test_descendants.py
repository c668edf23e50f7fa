"""What a user's code has started ends with its process, and that ends with its supervisor."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.user_projection import PATIENCE_S, ProjectCommand, queue_runs, until

MODULE = """
import os, subprocess, time
from pathlib import Path

import counting


def told(name, pid):
    Path(name + ".part").write_text(str(pid))
    Path(name + ".part").rename(name)


class Starting(counting.Counting):
    name = "Counting"

    def process_event(self, domain_event, tracking):
        match domain_event.event.spec.user_login_name:
            case "start":
                told("started", subprocess.Popen(["sleep", "400"]).pid)
            case "fork" if not Path("mended").exists():
                pid = os.fork()
                if not pid:
                    time.sleep(400)
                told("started", pid)
                os._exit(7)
        super().process_event(domain_event, tracking)
"""
HELD = """
import os, re, subprocess, sys
from interfaces.python.process_group import end_group_with

end_group_with(int(sys.argv[1]), within_s=0.2)
sleeping = subprocess.Popen(["sleep", "400"])
os.write(int(sys.argv[1]), b"%d\\n" % sleeping.pid)
if sys.argv[2] == "stuck":
    re.match("(a|aa)+$", "a" * 100 + "b")  # without the GIL's release, for years
"""


@pytest.fixture
def project(database: str, tmp_path: Path) -> ProjectCommand:
    (tmp_path / "starting.py").write_text(MODULE, encoding="utf-8")
    return ProjectCommand(database, tmp_path, topic="starting:Starting")


def lives(pid: int) -> bool:
    return Path(f"/proc/{pid}/exe").exists()


def started(project: ProjectCommand) -> int:
    """The process that the user's code has started."""
    until((project.folder / "started").exists, project.log)
    return int((project.folder / "started").read_text(encoding="utf-8"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_what_it_has_started_ends_with_the_command(
    database: str, project: ProjectCommand, number: signal.Signals
) -> None:
    queue_runs(database, "start")
    with project:
        pid = started(project)
        project.counted({"start": 1})
        assert lives(pid)
        project.stop(number)
        until(lambda: not lives(pid), project.log)


def test_one_that_dies_and_leaves_a_fork_with_its_socket_is_started_again(
    database: str, project: ProjectCommand
) -> None:
    queue_runs(database, "fork")
    with project:
        pid = started(project)
        until(lambda: project.row().get("error") == "it ended with exit code 7", project.log)
        until(lambda: not lives(pid), project.log)
        (project.folder / "mended").touch()
        project.counted({"fork": 1})


@pytest.mark.parametrize("leader", ["stuck", "ended"])
def test_a_group_ends_with_its_supervisor_whatever_its_leader_does(leader: str) -> None:
    ours, its = socket.socketpair()
    with its:
        process = subprocess.Popen(
            [sys.executable, "-c", HELD, str(its.fileno()), leader], pass_fds=(its.fileno(),), start_new_session=True
        )
    try:
        with ours, ours.makefile("rb") as lines:
            pid = int(lines.readline())
            if leader == "ended":
                assert process.wait(timeout=PATIENCE_S) == 0
            assert lives(pid)
        until(lambda: not lives(pid))
        assert process.wait(timeout=PATIENCE_S) == (0 if leader == "ended" else -signal.SIGKILL)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=PATIENCE_S)

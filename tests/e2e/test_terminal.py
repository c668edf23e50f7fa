"""The command line in a real terminal: what people see, whatever its size, and whatever agents wrote."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.support.fleetlog_server import REPOSITORY, FleetlogServer, new_id
from tests.support.terminal import CTRL_C, Terminal

pytestmark = pytest.mark.proof


COLOUR = re.compile(rb"\x1b\[[0-9;]*[1-9][0-9;]*m")
STEERING = re.compile(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u202e]")
AT_THE_END = ["succeeded", "1/2", "todos", "1", "tools", "1", "failed"]
WIDE = "写" * 40
SCRIPT = (
    r"""echo working
todo() { echo '::fleetlog {"type": "todo.update", "todo": {"todoId": "a", "content": "WIDE", "status": "'$1'"}}'; }
todo doing
echo '::fleetlog {"type": "todo.update", "todo": {"todoId": "b", "content": "another"}}'
printf 'evil \033[31mred\033]0;title\007 \302\233 \342\200\256 bytes [bold red]markup[/]\n'
echo '::fleetlog {"type": "tool.start", "toolId": "t", "name": "shell", "input": {"command": "ls WIDE"}}'
echo '::fleetlog {"type": "tool.end", "toolId": "t", "output": "no such file", "ok": false}'
todo done
"""
).replace("WIDE", WIDE)


@pytest.fixture(scope="module")
def run_id(shared_fleetlog: FleetlogServer) -> str:
    """A run that has done a bit of everything, and written what a terminal should not obey."""
    name = new_id("run")
    assert shared_fleetlog.finished(SCRIPT, runId=name)["snapshot"]["state"] == "succeeded"
    return name


def in_terminal(server: FleetlogServer, *arguments: str, columns: int = 140, **environment: str) -> Terminal:
    command = [sys.executable, "-m", "interfaces.cli.main", *arguments]
    python_path = {"PYTHONPATH": str(REPOSITORY)}
    return Terminal(command, server.environment() | python_path | environment, columns=columns)


def seen(server: FleetlogServer, *arguments: str, columns: int = 140, **environment: str) -> Terminal:
    with in_terminal(server, *arguments, columns=columns, **environment) as terminal:
        assert terminal.end() == 0, terminal.text
        return terminal


def commands_on(run_id: str) -> list[list[str]]:
    return [
        ["history", run_id],
        ["history", "--session", f"run-{run_id}"],
        ["show", run_id],
        ["diff", run_id, "1", "12"],
        ["events", "--stream", f"run:{run_id}"],
        ["list", "runs"],
        ["replay", run_id, "--speed", "0"],
    ]


@pytest.mark.parametrize("columns", [40, 160])
def test_every_line_fits_the_terminal_and_none_steers_it(
    shared_fleetlog: FleetlogServer, run_id: str, columns: int
) -> None:
    for command in commands_on(run_id):
        shown = seen(shared_fleetlog, *command, columns=columns)
        for line in shown.text.split("\n"):
            assert STEERING.search(line) is None, (command, line)
            # The bar of a replay is drawn over itself.
            assert cell_len(line) <= columns or command[0] == "replay", (command, line)
        assert b"]0;title" not in shown.output.replace(rb"\x1b]0;title", b"")


def test_a_timeline_has_the_state_beside_it_where_there_is_room(shared_fleetlog: FleetlogServer, run_id: str) -> None:
    wide = seen(shared_fleetlog, "history", run_id, columns=160).text.splitlines()
    narrow = seen(shared_fleetlog, "history", run_id, columns=90).text.splitlines()

    (started,) = [line for line in wide if "run.started" in line]
    (finished,) = [line for line in wide if "run.finished" in line]
    assert started.partition("│")[2].split() == ["running"]
    assert finished.partition("│")[2].split() == AT_THE_END
    assert re.search(r"^ +1 +\+0\.000 s  run\.queued", wide[0])
    assert "│" not in "".join(narrow)
    assert narrow[-1].split() == ["state", *AT_THE_END]


def test_people_see_colour_unless_they_want_none_and_machines_never(
    shared_fleetlog: FleetlogServer, run_id: str
) -> None:
    def hues(terminal: Terminal) -> list[bytes]:
        return [each for each in COLOUR.findall(terminal.output) if re.search(rb"[\[;]3[0-7]", each)]

    last = str(len(json.loads(shared_fleetlog.command("history", run_id, "--json"))["events"]))
    for command in (["history", run_id], ["diff", run_id, "1", last]):
        assert hues(seen(shared_fleetlog, *command))
        assert not hues(seen(shared_fleetlog, *command, NO_COLOR="1"))
        assert "\x1b" not in shared_fleetlog.command(*command)
    changed = seen(shared_fleetlog, "diff", run_id, "1", last).output
    assert re.search(rb"\x1b\[31mqueued\x1b\[0m.*\x1b\[32msucceeded\x1b\[0m", changed)


def test_a_pipe_gets_whole_lines_and_may_be_closed_early(shared_fleetlog: FleetlogServer, run_id: str) -> None:
    lines = shared_fleetlog.command("history", run_id).splitlines()
    events = json.loads(shared_fleetlog.command("history", run_id, "--json"))["events"]
    assert len(lines) == len(events) + 1
    assert "evil \\x1b[31mred\\x1b]0;title\\x07 \\x9b \\u202e bytes [bold red]markup[/]" in "\n".join(lines)

    command = f"'{sys.executable}' -m interfaces.cli.main history {run_id} --json | head -c 1"
    environment = shared_fleetlog.environment()
    closed = subprocess.run(
        ["bash", "-c", command], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert (closed.stdout, closed.stderr) == ("{", "")


def test_a_replay_goes_on_in_its_own_rhythm_until_ctrl_c(shared_fleetlog: FleetlogServer) -> None:
    slow = new_id("run")
    shared_fleetlog.finished("echo first; sleep 1; echo second", runId=slow)

    with in_terminal(shared_fleetlog, "replay", slow, "--speed", "0.002") as terminal:
        terminal.until("run.claimed")
        terminal.press(CTRL_C)
        assert terminal.end() == 130
    assert "second" not in terminal.text
    assert "Traceback" not in terminal.text
    (seq,) = re.findall(r"stopped at seq (\d+) of", terminal.text)

    rest = seen(shared_fleetlog, "replay", slow, "--speed", "100", "--after", seq)
    assert "second" in rest.text
    assert "run.claimed" not in rest.text
    frames = [
        json.loads(line) for line in shared_fleetlog.command("replay", slow, "--speed", "0", "--json").splitlines()
    ]
    assert [frame["seq"] for frame in frames] == list(range(1, len(frames) + 1))
    assert frames[-1]["type"] == "run.finished"


def test_long_work_shows_how_far_it_is(shared_fleetlog: FleetlogServer, run_id: str, tmp_path: Path) -> None:
    file = str(tmp_path / "log.jsonl")
    for command in (
        ["verify"],
        ["export", file],
        ["checkpoint", str(tmp_path / "checkpoint")],
        ["projections", "rebuild", "usage"],
        ["bisect", run_id, 'state == "succeeded"'],
        ["replay", run_id, "--speed", "0"],
    ):
        shown = seen(shared_fleetlog, *command)
        assert "━" in shown.text, command
        assert b"\x1b[?25h" in shown.output, "the cursor is visible again"
    halved = seen(shared_fleetlog, "bisect", run_id, 'state == "succeeded"', "--monotone")
    assert "run.finished" in halved.text


def test_a_slip_of_the_pen_is_answered_with_what_was_meant(shared_fleetlog: FleetlogServer, run_id: str) -> None:
    for wrong, meant in (
        (["histroy", "x"], "did you mean history?"),
        (["effects", "lst"], "did you mean list?"),
        (["verify", "--chekpoint", "x"], "did you mean --checkpoint?"),
        (["effects", "list", "--state", "deed"], "did you mean dead"),
        (["why"], "position"),
    ):
        with in_terminal(shared_fleetlog, *wrong) as terminal:
            assert terminal.end() == 2
        assert meant in terminal.text, wrong


def test_errors_name_the_server_the_field_and_what_to_do(shared_fleetlog: FleetlogServer, run_id: str) -> None:
    def refused(*arguments: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "interfaces.cli.main", *arguments],
            cwd=REPOSITORY,
            env=shared_fleetlog.environment() | environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        return done.stderr

    unreachable = refused("show", run_id, "--url", "http://127.0.0.1:9")
    assert "http://127.0.0.1:9" in unreachable
    assert "fleetlog up" in unreachable
    for seq in ("0", "999999"):
        assert f"atSeq: {seq} is not between 1 and " in refused("show", run_id, "--at", seq)
    assert "where" in refused("bisect", run_id, "state ===")
    assert "equality is `==`" in refused("bisect", run_id, "state = 'running'")
    assert "no field 'stat'; there are appId, " in refused("bisect", run_id, "stat == 'running'")
    assert "'bogus' is none of queued, " in refused("list", "runs", "--state", "bogus")
    session = f"run-{run_id}"
    listing = f"fleetlog events --stream session:{session} --type session.synced"
    assert listing in refused("workspace", "ls", session, "--at", "1")
    assert "HTTP 4" in refused("history", "none/../such")
    assert "is known (HTTP 404)" in refused("history", "none-such")


def test_a_terminal_without_utf_8_is_no_reason_to_fail(shared_fleetlog: FleetlogServer, run_id: str) -> None:
    shown = seen(shared_fleetlog, "history", run_id, PYTHONIOENCODING="ascii")
    assert os.linesep in shown.text
    assert "\\u5199" in shown.text

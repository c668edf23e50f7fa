"""`fleetlog export`: the log's lines, through the application that reads them again."""

import fcntl
import os
import signal
import stat
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate

from interfaces.cli.main import main
from interfaces.cli.parser import WRONG_CALL
from interfaces.python import ExportedLog, FleetlogApplication
from tests.integration.audit.conftest import offline, url_of
from tests.support.fleetlog_server import REPOSITORY
from tests.support.tampering import execute
from tests.support.user_projection import until


@pytest.fixture
def installation(log: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of one whose log has events of another tenant, too."""
    settings = {"PERSISTENCE_MODULE": "infrastructure.eventsourcing_library.factory", "DATABASE_URL": log}
    with Application(env=settings) as others:
        others.save(Aggregate(), Aggregate())
    monkeypatch.setenv("DATABASE_URL", url_of(log))
    monkeypatch.setenv("FLEETLOG_SECRET", "a secret of this installation only")
    monkeypatch.setenv("FLEETLOG_HOME", str(tmp_path / "home"))
    return tmp_path


def test_the_command_the_database_and_the_file_give_the_same_lines(log: str, installation: Path) -> None:
    file = installation / "log.jsonl"

    assert main(["export", str(file)]) == 0

    written = file.read_bytes()
    lines = written.splitlines(keepends=True)
    with (
        FleetlogApplication(env={"DATABASE_URL": log}) as database,
        ExportedLog(file) as exported,
        ExportedLog(file, tenant="Application") as of_other,
    ):
        for each in (database, exported, of_other):
            assert each.last_position == len(lines)
            assert b"".join(each.exported_lines()) == written
            assert b"".join(each.exported_lines(after=7, up_to=20)) == b"".join(lines[7:20])
            assert b"".join(each.exported_lines(after=len(lines) - 1, up_to=2**40)) == lines[-1]
        assert len(list(of_other)) == 2
    assert offline(file).returncode == 0


def test_standard_output_has_the_lines_after_a_position(
    installation: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    file = installation / "log.jsonl"
    assert main(["export", str(file)]) == 0
    capfdbinary.readouterr()

    assert main(["export", "--after", "90"]) == 0

    assert capfdbinary.readouterr().out == b"".join(file.read_bytes().splitlines(keepends=True)[90:])


def test_a_failed_export_leaves_the_old_file_and_no_part(
    log: str, installation: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = installation / "kept"
    folder.mkdir()
    (folder / "log.jsonl").write_text("the old one")
    execute(log, "ALTER TABLE events RENAME COLUMN payload_hash TO another_name")

    assert main(["export", str(folder / "log.jsonl")]) == 1

    assert "the log can't be read" in capsys.readouterr().err
    assert os.listdir(folder) == ["log.jsonl"]
    assert (folder / "log.jsonl").read_text() == "the old one"


def test_an_export_replaces_what_a_link_names_and_keeps_who_may_read_it(installation: Path) -> None:
    file, link = installation / "log.jsonl", installation / "latest.jsonl"
    file.write_text("the old one")
    file.chmod(0o600)
    link.symlink_to(file)

    assert main(["export", str(link)]) == 0

    assert link.is_symlink()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert offline(file).returncode == 0


def test_a_folder_that_is_not_there_is_named(installation: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(installation / "nowhere/log.jsonl")]) == 1

    assert "nowhere/log.jsonl can't be written: No such file" in capsys.readouterr().err.replace("\n", "")


@pytest.mark.parametrize("command", ["export", "checkpoint"])
def test_what_can_not_be_written_is_an_error_of_one_line(installation: Path, command: str) -> None:
    loop = installation / "loop"
    loop.symlink_to(loop)
    (installation / "folder").mkdir()
    for file, reason in (
        ("nowhere/file", "No such file"),
        ("loop", "Too many levels of symbolic links"),
        ("folder", "Is a directory"),
        ("/dev/full", "No space left"),
        (None, "No space left"),
    ):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [sys.executable, "-P", "-m", "interfaces.cli.main", command, *([file] if file else [])],
                cwd=installation, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, stdout=full,
                stderr=subprocess.PIPE, text=True, timeout=240, check=False,
            )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr.startswith(f"error: {file or 'standard output'} can't be written: {reason}"), done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_checkpoint_replaces_a_file_as_a_whole(installation: Path) -> None:
    file = installation / "checkpoint.json"
    file.write_text("x" * 100_000)

    assert main(["checkpoint", str(file)]) == 0

    assert file.read_bytes().startswith(b"{")
    assert file.read_bytes().endswith(b"}\n")


def test_a_position_that_the_log_lacks_is_refused_and_replaces_nothing(
    installation: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = installation / "log.jsonl"
    file.write_text("the old one")

    assert main(["export", str(file), "--after", "99999"]) == WRONG_CALL
    assert "the log ends at position" in capsys.readouterr().err
    for none in ("-5", "five"):
        with pytest.raises(SystemExit):
            main(["export", str(file), "--after", none])
        assert f"{none!r} is no position" in capsys.readouterr().err
    assert file.read_text() == "the old one"


def test_ctrl_c_ends_an_export_that_nobody_reads(installation: Path) -> None:
    reading, writing = os.pipe()
    size = fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "interfaces.cli.main", "export"],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, stdout=writing, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        os.close(writing)
        until(lambda: struct.unpack("i", fcntl.ioctl(reading, termios.FIONREAD, b"    "))[0] == size)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=240) == 130
    finally:
        process.kill()
        _, said = process.communicate(timeout=240)
        os.close(reading)
    assert said == ""

"""`fleetlog export`: the log's lines, through the application that reads them again."""

import os
import stat
from pathlib import Path

import pytest
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate

from interfaces.cli.main import main
from interfaces.python import ExportedLog, FleetlogApplication
from tests.integration.audit.conftest import offline, url_of
from tests.support.tampering import execute


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

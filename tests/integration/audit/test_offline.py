"""script/verify-log: an export and a checkpoint, verified without Fleetlog."""

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.integration.audit.conftest import audit_of
from tests.support.async_run import run
from tests.support.projecting import projection_harness

SCRIPT = Path(__file__).resolve().parents[3] / "script/verify-log"


@pytest.fixture
def exported(log: str, tmp_path: Path) -> tuple[Path, Path]:
    export, checkpoint = tmp_path / "log.jsonl", tmp_path / "checkpoint.json"

    async def write() -> None:
        async with projection_harness(log) as harness, audit_of(harness) as audit:
            checkpoint.write_bytes(msgspec.json.encode(await audit.checkpoint()))
            export.write_bytes(b"".join([lines async for lines in audit.export()]))

    run(write())
    return export, checkpoint


def check(*arguments: Path) -> subprocess.CompletedProcess[str]:
    # -I: nothing but the standard library can be imported.
    command = [sys.executable, "-I", "-S", str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def test_it_is_short_and_needs_the_standard_library_alone() -> None:
    assert len(SCRIPT.read_text().splitlines()) < 80


def test_a_whole_export_holds_with_its_checkpoint(exported: tuple[Path, Path]) -> None:
    done = check(*exported)

    assert done.returncode == 0, done.stderr
    assert "so does the checkpoint" in done.stdout


def test_a_changed_line_a_missing_line_and_a_swapped_pair_are_named(exported: tuple[Path, Path]) -> None:
    export, _ = exported
    lines = export.read_text().splitlines(keepends=True)
    changed = lines[41].replace("tester", "nobody")
    assert changed != lines[41]

    for broken, where in (
        ([*lines[:41], changed, *lines[42:]], "position 42"),
        ([*lines[:41], *lines[42:]], "position 42"),
        ([*lines[:41], lines[42], lines[41], *lines[43:]], "position 42"),
    ):
        export.write_text("".join(broken))
        done = check(export)
        assert done.returncode == 1
        assert where in done.stderr


def test_a_truncated_tail_and_a_forged_checkpoint_are_refused(exported: tuple[Path, Path]) -> None:
    export, checkpoint = exported
    lines = export.read_text().splitlines(keepends=True)
    export.write_text("".join(lines[:-2]))
    assert check(export).returncode == 0
    assert "attests" in check(export, checkpoint).stderr

    forged = json.loads(checkpoint.read_text())
    forged["statement"] = forged["statement"].replace(f'"events":{len(lines)}', f'"events":{len(lines) - 2}')
    checkpoint.write_text(json.dumps(forged))
    assert "signature" in check(export, checkpoint).stderr


def test_a_line_that_is_cut_is_named(exported: tuple[Path, Path]) -> None:
    export, _ = exported
    os.truncate(export, export.stat().st_size - 20)
    lines = len(export.read_text().splitlines())
    assert f"{export} is cut: line {lines} is not whole" in check(export).stderr


@pytest.mark.parametrize("bad", ["missing", "empty", "no checkpoint"])
def test_a_file_that_is_no_such_file_is_an_error_of_one_line(
    exported: tuple[Path, Path], tmp_path: Path, bad: str
) -> None:
    export, checkpoint = exported
    other = tmp_path / "other"
    if bad != "missing":
        other.write_text("" if bad == "empty" else '{"statement": 1}')

    for arguments in ((other, checkpoint), (export, other), (export, checkpoint, other), ()):
        if bad == "empty" and arguments[:1] == (other,):
            continue  # a log without events, which the checkpoint then refuses
        done = check(*arguments)
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1, done.stderr


def test_a_key_that_was_kept_decides(exported: tuple[Path, Path], tmp_path: Path) -> None:
    export, checkpoint = exported
    own, other = tmp_path / "own.pem", tmp_path / "other.pem"
    own.write_text(json.loads(checkpoint.read_text())["publicKey"])
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", tmp_path / "secret.pem"], check=True)
    subprocess.run(["openssl", "pkey", "-in", tmp_path / "secret.pem", "-pubout", "-out", other], check=True)

    assert check(export, checkpoint, own).returncode == 0
    assert check(export, checkpoint, other).returncode == 1

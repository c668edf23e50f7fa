"""Files given to the agents' user: those below a folder, and no others."""

import os
from pathlib import Path

import pytest

from infrastructure.executor.runs.ownership import give_to_user

AGENT = 1000

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def owner(path: Path) -> int:
    return path.lstat().st_uid


def test_everything_below_is_handed_over(tmp_path: Path) -> None:
    inner = tmp_path / "workspace" / "inner"
    inner.mkdir(parents=True)
    (inner / "file").touch()
    give_to_user([str(tmp_path / "workspace")], AGENT)
    assert {owner(inner.parent), owner(inner), owner(inner / "file")} == {AGENT}
    assert owner(tmp_path) == 0


def test_nothing_outside_is(tmp_path: Path) -> None:
    outside, workspace = tmp_path / "outside", tmp_path / "workspace"
    for folder in (outside, workspace):
        folder.mkdir()
    for name in ("linked", "named-twice"):
        (outside / name).touch()
    (workspace / "to-folder").symlink_to(outside)
    (workspace / "to-file").symlink_to(outside / "linked")
    (workspace / "second-name").hardlink_to(outside / "named-twice")
    give_to_user([str(workspace)], AGENT)
    assert owner(workspace / "to-file") == owner(workspace / "to-folder") == AGENT
    assert {owner(path) for path in (outside, *outside.iterdir())} == {0}

"""Trees of folders that are deeper than any stack and any number of open files."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from infrastructure.folder_descent import FOLDER, delete_folder, descend

DEPTH = 3_000


@pytest.fixture
def few_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def deep(root: Path, name: str = "d") -> None:
    """A chain of DEPTH folders below `root`, which must exist."""
    fd = os.open(root, FOLDER)
    for _ in range(DEPTH):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, FOLDER, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)


def visited(root: Path) -> list[str]:
    seen: list[str] = []

    def visit(fd: int, path: str) -> list[str]:
        seen.append(path)
        return sorted(entry.name for entry in os.scandir(fd) if entry.is_dir(follow_symlinks=False))

    fd = os.open(root, FOLDER)
    try:
        descend(fd, visit, unreadable=lambda path, error: seen.append(f"{path}: {type(error).__name__}"))
    finally:
        os.close(fd)
    return seen


@pytest.mark.usefixtures("few_files")
def test_a_deep_tree_is_descended_and_deleted(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for name in ("a", "b\nc", os.fsdecode(b"\xff")):
        (tree / name / "x").mkdir(parents=True)
    deep(tree / "a")
    (tree / "link").symlink_to(tmp_path)

    seen = visited(tree)

    assert seen[:2] == ["", "a"]
    assert len(seen) == DEPTH + 7
    assert max(path.count("/") for path in seen) == DEPTH
    delete_folder(tree)
    assert list(tmp_path.iterdir()) == []
    delete_folder(tree)


def test_folders_without_permissions_are_deleted_too(tmp_path: Path) -> None:
    (tmp_path / "tree/locked/below").mkdir(parents=True)
    (tmp_path / "tree/locked/file").touch()
    (tmp_path / "tree/locked").chmod(0)
    (tmp_path / "tree").chmod(0o500)
    delete_folder(tmp_path / "tree")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_moved_away_meanwhile_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "tree/a/b/c").mkdir(parents=True)
    (tmp_path / "tree/a/z").mkdir()
    (tmp_path / "tree/z").mkdir()
    (tmp_path / "outside").mkdir()
    seen: list[str] = []

    def visit(fd: int, path: str) -> list[str]:
        seen.append(path)
        if path == "a/b":
            (tmp_path / "tree/a/b").rename(tmp_path / "outside/b")
        return sorted(os.listdir(fd))

    fd = os.open(tmp_path / "tree", FOLDER)
    descend(fd, visit, unreadable=lambda _path, _error: None)
    os.close(fd)

    assert seen == ["", "a", "a/b", "a/b/c", "a/z", "z"]


def test_a_folder_that_is_gone_with_all_above_it_ends_the_visit_there(tmp_path: Path) -> None:
    (tmp_path / "tree/a/b/c").mkdir(parents=True)
    (tmp_path / "tree/a/z").mkdir()
    (tmp_path / "tree/z").mkdir()
    seen: list[str] = []

    def visit(fd: int, path: str) -> list[str]:
        seen.append(path)
        if path == "a/b/c":
            (tmp_path / "tree/a/b").rename(tmp_path / "b")
            (tmp_path / "tree/a").rename(tmp_path / "a")
        return sorted(os.listdir(fd))

    fd = os.open(tmp_path / "tree", FOLDER)
    descend(fd, visit, unreadable=lambda _path, _error: None)
    os.close(fd)

    assert seen == ["", "a", "a/b", "a/b/c", "z"]


def test_what_can_not_be_opened_is_named_and_left_out(tmp_path: Path) -> None:
    (tmp_path / "tree/a/b").mkdir(parents=True)
    (tmp_path / "tree/c").mkdir()

    def visit(fd: int, path: str) -> list[str]:
        if path == "a":
            raise PermissionError
        return ["a", "gone", "c"] if path == "" else []

    failed: list[str] = []
    fd = os.open(tmp_path / "tree", FOLDER)
    descend(fd, visit, unreadable=lambda path, _error: failed.append(path))
    os.close(fd)

    assert failed == ["a", "gone"]

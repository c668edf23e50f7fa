"""Descends a tree of folders with one open descriptor and no recursion, however deep it is, and never leaves it: each
folder is opened by its name in the one above, links are not followed, and the way back up is checked."""

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OWNER_ONLY = 0o700

Visit = Callable[[int, str], Iterable[str]]
"""Given a folder's descriptor and its path relative to the root: the names of the subfolders to go into."""


@dataclass
class _Level:
    path: str
    identity: os.stat_result
    left: Iterator[str]


def descend(
    root: int,
    visit: Visit,
    *,
    unreadable: Callable[[str, OSError], None],
    leave: Callable[[int, str], None] = lambda _above, _name: None,
) -> None:
    """Visit the folder `root` (a descriptor, which stays open) and all below it, parents first. `unreadable`: the path
    of a folder that could not be opened or visited; what is below it is left out. So is the rest of a folder that is
    gone meanwhile. `leave` is given the folder above and the name of each one after all below it was visited."""
    fd = os.open(".", FOLDER, dir_fd=root)
    levels: list[_Level] = []
    try:
        levels.append(_entered(fd, "", visit, unreadable))
        while True:
            name = next(levels[-1].left, None)
            if name is None:
                done = levels.pop()
                if not levels:
                    return
                above, found = _above(fd, levels[-1], root)
                os.close(fd)
                fd = above
                if found:
                    leave(fd, done.path.rpartition("/")[2])
                else:
                    levels[-1].left = iter(())
                continue
            path = f"{levels[-1].path}/{name}" if levels[-1].path else name
            try:
                below = os.open(name, FOLDER, dir_fd=fd)
            except OSError as error:
                unreadable(path, error)
                continue
            os.close(fd)
            fd = below
            levels.append(_entered(fd, path, visit, unreadable))
    finally:
        os.close(fd)


def _entered(fd: int, path: str, visit: Visit, unreadable: Callable[[str, OSError], None]) -> _Level:
    names: list[str] = []
    try:
        names += visit(fd, path)
    except OSError as error:
        unreadable(path, error)
    return _Level(path, os.fstat(fd), iter(names))


def _above(fd: int, level: _Level, root: int) -> tuple[int, bool]:
    """The folder of `level`, which was the one above `fd`: by `..`, or by its path from the root if `fd` was moved. If
    there is none any more, the root and False."""
    with contextlib.suppress(OSError):
        above = os.open("..", FOLDER, dir_fd=fd)
        if os.path.samestat(os.fstat(above), level.identity):
            return above, True
        os.close(above)
    again = os.open(".", FOLDER, dir_fd=root)
    try:
        for name in level.path.split("/") if level.path else ():
            below = os.open(name, FOLDER, dir_fd=again)
            os.close(again)
            again = below
    except OSError:
        os.close(again)
        return os.open(".", FOLDER, dir_fd=root), False
    return again, True


def delete_folder(path: Path) -> None:
    """Delete a folder with all in it, folders without permissions too. Raises OSError for what can't be deleted."""
    failed: list[OSError] = []
    try:
        root = os.open(path, FOLDER)
    except FileNotFoundError:
        return
    except PermissionError:
        path.chmod(_OWNER_ONLY)
        root = os.open(path, FOLDER)
    try:
        descend(root, _emptied, unreadable=lambda _path, error: failed.append(error), leave=_remove)
    finally:
        os.close(root)
    if failed:
        raise failed[0]
    path.rmdir()


def _emptied(fd: int, _path: str) -> list[str]:
    """Delete the files of a folder; its subfolders, which can be opened then."""
    if os.fstat(fd).st_mode & _OWNER_ONLY != _OWNER_ONLY:
        os.fchmod(fd, _OWNER_ONLY)
    folders: list[str] = []
    for name in os.listdir(fd):
        with contextlib.suppress(FileNotFoundError):
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if not stat.S_ISDIR(found.st_mode):
                os.unlink(name, dir_fd=fd)
                continue
            if found.st_mode & _OWNER_ONLY != _OWNER_ONLY:
                os.chmod(name, _OWNER_ONLY, dir_fd=fd)
            folders.append(name)
    return folders


def _remove(above: int, name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(name, dir_fd=above)

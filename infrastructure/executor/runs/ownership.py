"""Gives files that the executor wrote to the agents' user, where that is another one."""

import contextlib
import os
import stat
from collections.abc import Iterable

from infrastructure.folder_descent import FOLDER, descend


def give_to_user(folders: Iterable[str], user: int) -> None:
    """Change the owner of the folders and of all in them to a user and the group of the same id. Symlinks are not
    followed. Files with several hard links are left alone: one of the links may lie outside. Blocks."""

    def give(descriptor: int, _path: str) -> list[str]:
        below = []
        for name in os.listdir(descriptor):
            with contextlib.suppress(FileNotFoundError):
                if _give(name, descriptor, user):
                    below.append(name)
        return below

    for folder in folders:
        os.chown(folder, user, user, follow_symlinks=False)
        root = os.open(folder, FOLDER)
        try:
            descend(root, give, unreadable=lambda _path, _error: None)
        finally:
            os.close(root)


def _give(name: str, descriptor: int, user: int) -> bool:
    """Whether it is a folder."""
    found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
    is_folder = stat.S_ISDIR(found.st_mode)
    if (found.st_uid, found.st_gid) != (user, user) and (is_folder or found.st_nlink == 1):
        os.chown(name, user, user, dir_fd=descriptor, follow_symlinks=False)
    return is_folder

"""Gives files that the executor wrote to the agents' user, where that is another one."""

import contextlib
import os
import stat
from collections.abc import Iterable


def give_to_user(folders: Iterable[str], user: int) -> None:
    """Change the owner of the folders and of all in them to a user and the group of the same id. Symlinks are not
    followed. Files with several hard links are left alone: one of the links may lie outside. Blocks."""
    for folder in folders:
        os.chown(folder, user, user, follow_symlinks=False)
        for _, folder_names, names, descriptor in os.fwalk(folder):
            for name in (*folder_names, *names):
                with contextlib.suppress(FileNotFoundError):
                    _give(name, descriptor, user)


def _give(name: str, descriptor: int, user: int) -> None:
    found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
    if found.st_uid == user and found.st_gid == user:
        return
    if found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode):
        return
    os.chown(name, user, user, dir_fd=descriptor, follow_symlinks=False)

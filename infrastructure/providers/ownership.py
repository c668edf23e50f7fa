"""Makes what the executor wrote the agent's own, where these are different users."""

import contextlib
import os
import stat
from collections.abc import Iterable


def hand_over(folders: Iterable[str], user: int) -> None:
    """Give the folders and all in them to a user (and the group of the same id). Links are never followed.

    Files with several names are left alone: one of the names may lie outside.
    """
    for folder in folders:
        os.chown(folder, user, user, follow_symlinks=False)
        for _, folder_names, names, descriptor in os.fwalk(folder):
            for name in (*folder_names, *names):
                with contextlib.suppress(FileNotFoundError):
                    _own(name, descriptor, user)


def _own(name: str, descriptor: int, user: int) -> None:
    found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
    if found.st_uid == user and found.st_gid == user:
        return
    if found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode):
        return
    os.chown(name, user, user, dir_fd=descriptor, follow_symlinks=False)

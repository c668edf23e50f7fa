"""Keeps the agents' data out of what `git status` shows in the workspace's own repository: one line in its
`.git/info/exclude`, which git reads beside `.gitignore` and never commits."""

import logging
import os
import re
import stat

from domain.errors import Conflict, NotFound
from infrastructure.executor.workspace.confined import ConfinedTree

_FOLDER, _NAME = ".git/info", "exclude"
_LARGEST_BYTES = 1024 * 1024
_OPEN = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_SPECIAL = re.compile(r"([\\*?\[ ])")
_log = logging.getLogger("fleetlog.executor.git")


def exclude_from_git(tree: ConfinedTree, agent_data: str) -> None:
    """Append the line for `agent_data` where the root is a repository whose file lacks it; what is in the file stays.
    Blocks. A file that is no plain one, or can't be written, is left alone: nothing depends on this."""
    if not _is_directory(tree, ".git"):
        return
    line = _SPECIAL.sub(r"\\\1", f"/{agent_data}/").encode(errors="surrogateescape")
    try:
        with tree.ensure_directory(_FOLDER, replace=False) as folder:
            fd = os.open(_NAME, _OPEN, 0o644, dir_fd=folder)
            try:
                _append(fd, line, tree.owner)
            finally:
                os.close(fd)
    except (OSError, NotFound, Conflict) as error:
        _log.info("%s/%s was left as it is: %s", _FOLDER, _NAME, error)


def _append(fd: int, line: bytes, owner: int | None) -> None:
    found = os.fstat(fd)
    # A second name may be one of a file elsewhere that the agent may not write.
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or found.st_size > _LARGEST_BYTES:
        return
    content = os.pread(fd, found.st_size, 0)
    if line in content.splitlines():
        return
    os.write(fd, (b"" if content.endswith(b"\n") or not content else b"\n") + line + b"\n")
    if owner is not None and not content:
        os.fchown(fd, owner, owner)


def _is_directory(tree: ConfinedTree, path: str) -> bool:
    found = tree.lstat(path)
    return found is not None and stat.S_ISDIR(found.st_mode)

"""The state folder of an executor: one executor has it at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class StateFolderInUse(Exception):
    """Another executor has the folder."""


def made(folder: Path) -> Path:
    """The folder, made if it is missing; only its owner may read it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def emptied(folder: Path) -> Path:
    """The folder, made if it is missing, without the files of an earlier executor."""
    for left in made(folder).iterdir():
        left.unlink()
    return folder


@contextmanager
def exclusive_lock(state_dir: Path) -> Iterator[None]:
    """Raises StateFolderInUse."""
    fd = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StateFolderInUse(f"another executor serves {state_dir} already") from error
        yield
    finally:
        os.close(fd)

"""A lock between processes and threads that is released when its holder ends, however it ends."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from infrastructure.runtimes.polling import wait_until


class StillLocked(Exception):
    """The lock was not released within the timeout."""


class FolderLock:
    """A kernel lock (`flock`) on the file `path`, made when needed. `remove` may be called while it is held."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextlib.contextmanager
    def held(self, timeout_s: float) -> Iterator[None]:
        """Hold the lock inside. Raises StillLocked after `timeout_s` seconds."""
        descriptor = self._acquire(timeout_s)
        try:
            yield
        finally:
            os.close(descriptor)

    def remove(self) -> None:
        """Remove the lock's file; those who wait for the lock make a new one."""
        self._path.unlink(missing_ok=True)

    def _acquire(self, timeout_s: float) -> int:
        taken: list[int] = []

        def take() -> bool:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # If the file that we locked was removed meanwhile, others lock a new one: try again.
                if os.fstat(descriptor).st_ino == self._path.stat().st_ino:
                    taken.append(descriptor)
                    return True
            except (BlockingIOError, FileNotFoundError):
                pass
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
            return False

        if not wait_until(take, timeout_s):
            raise StillLocked(f"{self._path} was locked for {timeout_s:g} s by another process")
        return taken[0]

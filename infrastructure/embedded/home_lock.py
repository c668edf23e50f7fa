"""One Fleetlog per home: makes the folder, and locks it while a Fleetlog runs on it."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from infrastructure.embedded.errors import HomeInUse, HomeUnusable

LOCK_FILE = "lock"


def prepare_home(home: Path) -> Path:
    """Create the folder where it is missing and return its absolute path.

    Other users can enter, but not list, a home that root makes (0711), because an ordinary user runs Postgres below it
    then; files and folders with data or secrets have modes of their own. Raises HomeUnusable.
    """
    home = home.absolute()
    try:
        if not home.exists():
            home.mkdir(parents=True)
            home.chmod(0o711 if os.geteuid() == 0 else 0o700)
    except OSError as error:
        raise HomeUnusable(home, error.strerror or str(error)) from error
    if not home.is_dir():
        raise HomeUnusable(home, "it is not a folder")
    if not os.access(home, os.W_OK | os.X_OK):
        raise HomeUnusable(home, "this user may not write there")
    return home.resolve()


class HomeLock:
    """An exclusive lock on a home, held until `release` or the end of this process, however it ends.

    The lock is the kernel's (`flock`), so a killed Fleetlog leaves none behind; the embedded servers do not inherit it.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock without waiting. Raises HomeInUse, which names the process that holds it, and HomeUnusable."""
        path = prepare_home(self._home) / LOCK_FILE
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode().strip()
            os.close(descriptor)
            raise HomeInUse(self._home, f"process {holder}" if holder else "process unknown") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Release the lock, if it is held."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

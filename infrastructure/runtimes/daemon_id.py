"""The id of one home of the `process` runtime, which distinguishes it from others as a Docker daemon's id does."""

import os
from pathlib import Path

from infrastructure.durable_file import flush_directory

FILE_NAME = "daemon-id"


def make_daemon_id(workers: Path) -> str:
    """The id of this home, made by the first call. It never changes, and concurrent first calls return the same one."""
    path = workers / FILE_NAME
    if not path.exists():
        draft = workers / f".{FILE_NAME}-{os.urandom(6).hex()}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"process-{os.urandom(16).hex()}")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # unlike a rename it never replaces the id of another process
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        flush_directory(workers)
    return path.read_text().strip()


def read_daemon_id(workers: Path) -> str | None:
    """The id in this home now; None if it is missing, for example because a disk is not mounted."""
    try:
        return (workers / FILE_NAME).read_text().strip()
    except FileNotFoundError:
        return None

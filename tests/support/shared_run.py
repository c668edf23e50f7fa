"""What all processes of one test run share: a folder, and what the first process that needs it makes there.

pytest runs as one process, or as one that leads several workers (pytest-xdist); a program that uses these modules
without pytest has no such folder.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_folders: list[Path] = []


def enter_run(folder: Path) -> None:
    """Belong to the test run that has this folder."""
    folder.mkdir(exist_ok=True)
    _folders[:] = [folder]


def run_folder() -> Path | None:
    """The folder of the test run that this process belongs to."""
    return _folders[0] if _folders else None


@contextmanager
def one_at_a_time(name: str) -> Iterator[Path]:
    """Of all processes of this test run, one is inside at a time. Gives the folder `name` of the run."""
    assert _folders, "this process belongs to no test run"
    folder = _folders[0] / name
    with (_folders[0] / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder.mkdir(exist_ok=True)
        yield folder

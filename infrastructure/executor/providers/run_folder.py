"""Files with secrets that a CLI reads for one run: in the agents' home, which is never synced, and deleted with the
run. Only the agents' user may read them; a command line, or an environment, would show them to every process."""

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Any, Self

import msgspec

from infrastructure.folder_descent import delete_folder

_PREFIX = "fleetlog-run-"


class RunFolder:
    """Make it with `made`. All calls block."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def made(cls, private_folder: str) -> Self:
        """A new one, the only one in the agents' home: what a run that was killed has left is deleted."""
        clear_run_folders(private_folder)
        return cls(Path(tempfile.mkdtemp(prefix=_PREFIX, dir=private_folder)))

    def write(self, name: str, content: str) -> Path:
        path = self.path / name
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(content)
        return path

    def write_json(self, name: str, content: Any) -> Path:
        return self.write(name, msgspec.json.encode(content).decode())

    def clear(self) -> None:
        """Delete it with all that is in it."""
        with contextlib.suppress(OSError):
            delete_folder(self.path)


def clear_run_folders(private_folder: str) -> None:
    """Delete what runs that were killed have left in the agents' home. Blocks."""
    for left in Path(private_folder).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            delete_folder(left)

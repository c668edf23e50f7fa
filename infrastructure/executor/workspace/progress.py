"""Progress of a sync: counted by its transfer threads, read by the HTTP handler."""

import threading
from collections.abc import Iterable

from application.executor_protocol import SyncProgress
from infrastructure.executor.workspace.walk import FoundFile


class Progress:
    """Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shown = SyncProgress()

    def begin(self, sync_id: str) -> None:
        with self._lock:
            self._shown = SyncProgress(sync_id=sync_id)

    def expect(self, files: Iterable[FoundFile]) -> None:
        """Count files that are going to be read."""
        sizes = [file.size for file in files]
        self._add(files=len(sizes), size=sum(sizes))

    def done(self, files: Iterable[FoundFile]) -> None:
        """Count files that are stored, or could not be read."""
        sizes = [file.size for file in files]
        self._add(files_done=len(sizes), size_done=sum(sizes))

    def end(self) -> None:
        self.begin("")

    def shown(self) -> SyncProgress:
        with self._lock:
            return self._shown

    def _add(self, *, files: int = 0, size: int = 0, files_done: int = 0, size_done: int = 0) -> None:
        with self._lock:
            shown = self._shown
            self._shown = SyncProgress(
                sync_id=shown.sync_id,
                files=shown.files + files,
                files_done=shown.files_done + files_done,
                bytes=shown.bytes + size,
                bytes_done=shown.bytes_done + size_done,
            )

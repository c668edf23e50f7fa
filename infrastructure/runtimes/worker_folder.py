"""The folder that is a "container" of the `process` runtime.

{home}/workers/
    daemon-id            the id of this home, made once
    .locks/{name}        one lock for each container
    .removed-{name}-…    a folder that is being deleted
    {name}/              0700; {name} is `{short hash}-g{generation}`, the container's id
        container.json   which session and generation; written last: with it the folder is whole
        executor.json    ExecutorConfig of the current boot, 0600
        process.json     ProcessIdentity of the executor process, while it runs
        executor.log     what the executor printed, of all boots
        workspace/  home/  state/
"""

import contextlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TypeVar

import msgspec

from application.executor_protocol import ADDRESS_FILE, ExecutorAddress
from application.ports.worker_runtime import ContainerSpec
from domain.identifiers import container_name
from infrastructure.durable_file import flush_directory, write_durably
from infrastructure.folder_descent import delete_folder
from infrastructure.runtimes.executor_setup import WorkerFolders
from infrastructure.runtimes.folder_lock import FolderLock
from infrastructure.runtimes.process_identity import ProcessIdentity

LOG_KEPT_BYTES = 16 * 1024 * 1024
_LOG_TAIL_BYTES = 8192
_OWNER_ONLY = 0o700

Record = TypeVar("Record", bound=msgspec.Struct)


class ContainerRecord(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """container.json."""

    id: str
    session_id: str
    generation: int
    created_at: datetime


class FolderOfAnotherSession(Exception):
    """The folder's container.json names another session or generation than the caller."""


class WorkerFolder:
    """Paths and files of one container. Methods raise OSError as the file system does."""

    def __init__(self, workers: Path, name: str) -> None:
        self.name = name
        self.path = workers / name
        self.home = self.path / "home"
        self.config_file = self.path / "executor.json"
        self.log_file = self.path / "executor.log"
        self.lock = FolderLock(workers / ".locks" / name)
        self._workers = workers
        self._workspace = self.path / "workspace"
        self._state = self.path / "state"
        self._record_file = self.path / "container.json"
        self._process_file = self.path / "process.json"
        self._endpoint_file = self._state / ADDRESS_FILE

    @property
    def folders(self) -> WorkerFolders:
        return WorkerFolders(
            workspace=PurePosixPath(self._workspace), home=PurePosixPath(self.home), state=PurePosixPath(self._state)
        )

    def exists(self) -> bool:
        """False only if the file system says that there is none; any other failure is an OSError."""
        return _exists(self.path)

    def is_whole(self) -> bool:
        """Whether it exists and has its workspace; a container without one counts as gone. A folder that a crash left
        half made counts as whole, `make` completes it. False only if the file system says so."""
        if not self.exists():
            return False
        half_made = self.record() is None and not _exists(self._state)
        return half_made or _exists(self._workspace)

    def make(self, spec: ContainerSpec) -> None:
        """Make the folder, or complete one that a crash left half made. Raises FolderOfAnotherSession."""
        record = self.record()
        if record is None:
            for folder in (self.path, self._workspace, self.home, self._state):
                folder.mkdir(mode=_OWNER_ONLY, exist_ok=True)
            record = ContainerRecord(
                id=self.name, session_id=spec.session_id, generation=spec.generation, created_at=datetime.now(UTC)
            )
            write_durably(self._record_file, msgspec.json.encode(record))
            flush_directory(self._workers)
        if (record.session_id, record.generation) != (spec.session_id, spec.generation):
            raise FolderOfAnotherSession(
                f"{self.path} belongs to session {record.session_id}, generation {record.generation}"
            )

    def delete(self) -> None:
        """Rename the folder to `.removed-…`, then delete it; a crash in between leaves the renamed folder."""
        doomed = self._workers / f".removed-{self.name}-{os.urandom(4).hex()}"
        with contextlib.suppress(FileNotFoundError):
            self.path.rename(doomed)
            flush_directory(self._workers)
            delete_folder(doomed)
        self.lock.remove()

    def record(self) -> ContainerRecord | None:
        return _read(self._record_file, ContainerRecord)

    def process(self) -> ProcessIdentity | None:
        """The executor process that was started last, alive or not."""
        return _read(self._process_file, ProcessIdentity)

    def remember_process(self, process: ProcessIdentity) -> None:
        write_durably(self._process_file, msgspec.json.encode(process))

    def forget_process(self) -> None:
        """Delete the records of a boot, so that they are not taken for those of the next one."""
        self._process_file.unlink(missing_ok=True)
        self._endpoint_file.unlink(missing_ok=True)

    def endpoint(self) -> ExecutorAddress | None:
        return _read(self._endpoint_file, ExecutorAddress)

    def open_log(self) -> int:
        """A descriptor to append to the log. A log larger than LOG_KEPT_BYTES is renamed to `executor.log.1` first."""
        with contextlib.suppress(FileNotFoundError):
            if self.log_file.stat().st_size > LOG_KEPT_BYTES:
                self.log_file.replace(self.log_file.with_suffix(".log.1"))
        return os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def log_tail(self, lines: int = 20) -> str:
        """The last whole lines of the log; empty if there is none."""
        try:
            with self.log_file.open("rb") as file:
                skipped = max(0, os.fstat(file.fileno()).st_size - _LOG_TAIL_BYTES)
                file.seek(skipped)
                if skipped:
                    file.readline()
                text = file.read().decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except FileNotFoundError:
        return False
    return True


def folder_of(workers: Path, spec: ContainerSpec) -> WorkerFolder:
    return WorkerFolder(workers, container_name(spec.session_id, spec.generation))


def all_folders(workers: Path) -> Iterator[WorkerFolder]:
    """Every container's folder, half-made ones too."""
    for entry in sorted(os.scandir(workers), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
            yield WorkerFolder(workers, entry.name)


def prepare_workers(home: Path) -> Path:
    """`{home}/workers`, made when missing, with links resolved; remains of interrupted removals are deleted."""
    workers = home / "workers"
    home.mkdir(parents=True, exist_ok=True, mode=_OWNER_ONLY)
    for folder in (workers, workers / ".locks"):
        folder.mkdir(mode=_OWNER_ONLY, exist_ok=True)
    for remains in workers.glob(".removed-*"):
        with contextlib.suppress(OSError):
            delete_folder(remains)
    return workers.resolve()


def _read(path: Path, kind: type[Record]) -> Record | None:
    """The file's content; None if it is missing or incomplete."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None

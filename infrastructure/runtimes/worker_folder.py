"""The folder that is a "container" of the `process` runtime.

{home}/workers/
    daemon-id            made once: tells this home from every other
    .locks/{name}        one lock for each container
    .removed-{name}-…    a folder on its way out
    {name}/              0700; {name} is `{short hash}-g{generation}`, the container's id
        container.json   which session and generation; written last: with it the folder is whole
        executor.json    ExecutorConfig of the present boot, 0600
        process.json     ProcessIdentity of the executor process, while it runs
        executor.log     what the executor printed, of all boots
        workspace/  home/  state/
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TypeVar

import msgspec

from application.ports import ContainerSpec
from domain.identifiers import container_name
from infrastructure.durable_file import flush_directory, write_durably
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


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """state/endpoint.json, written by an executor once it serves."""

    url: str
    boot_id: str
    pid: int


class FolderOfAnotherSession(Exception):
    """A folder holds another session than its name stands for."""


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
        self._endpoint_file = self._state / "endpoint.json"

    @property
    def folders(self) -> WorkerFolders:
        return WorkerFolders(
            workspace=PurePosixPath(self._workspace), home=PurePosixPath(self.home), state=PurePosixPath(self._state)
        )

    def exists(self) -> bool:
        """False only when the file system says so; any other trouble is an OSError."""
        return _exists(self.path)

    def is_whole(self) -> bool:
        """Whether it exists and, unless a crash left it half made, has its workspace: a container without one is gone.
        False only when the file system says so."""
        if not self.exists():
            return False
        half_made = self.record() is None and not _exists(self._state)
        return half_made or _exists(self._workspace)

    def make(self, spec: ContainerSpec) -> None:
        """Make the folder, or what a crash left out of it; one that is whole stays as it is."""
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
        """Delete the folder and all in it. It is out of the way at once; a crash in the middle leaves `.removed-…`."""
        doomed = self._workers / f".removed-{self.name}-{os.urandom(4).hex()}"
        with contextlib.suppress(FileNotFoundError):
            self.path.rename(doomed)
            flush_directory(self._workers)
            delete_tree(doomed)
        self.lock.remove()

    def record(self) -> ContainerRecord | None:
        return _read(self._record_file, ContainerRecord)

    def process(self) -> ProcessIdentity | None:
        """The executor process that was started last, whether it still lives or not."""
        return _read(self._process_file, ProcessIdentity)

    def remember_process(self, process: ProcessIdentity) -> None:
        write_durably(self._process_file, msgspec.json.encode(process))

    def forget_process(self) -> None:
        """Nothing of an earlier boot may be taken for one of the next."""
        self._process_file.unlink(missing_ok=True)
        self._endpoint_file.unlink(missing_ok=True)

    def endpoint(self) -> Endpoint | None:
        return _read(self._endpoint_file, Endpoint)

    def open_log(self) -> int:
        """A descriptor to append to the log; one that has grown too large is put aside first."""
        with contextlib.suppress(FileNotFoundError):
            if self.log_file.stat().st_size > LOG_KEPT_BYTES:
                self.log_file.replace(self.log_file.with_suffix(".log.1"))
        return os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of the log, whole ones; empty when there is none."""
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
            delete_tree(remains)
    return workers.resolve()


def delete_tree(path: Path) -> None:
    """Delete a folder, closed folders (mode 0500 and the like) in it too; links are never followed."""
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except PermissionError:
        path.chmod(_OWNER_ONLY)
        for folder, names, _ in os.walk(path):
            for name in names:
                child = Path(folder, name)
                if not child.is_symlink():
                    child.chmod(_OWNER_ONLY)
        shutil.rmtree(path)


def _read(path: Path, kind: type[Record]) -> Record | None:
    """The file's content; None when there is no such file, or one that was never written to its end."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None

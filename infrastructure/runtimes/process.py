"""The `process` runtime: one executor process per session on this machine, each in its folder. Trusted code only."""

import asyncio
import errno
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeVar

from application.ports.worker_runtime import (
    ContainerGone,
    ContainerInfo,
    ContainerSpec,
    OversizedContainer,
    OwnContainer,
    RuntimeUnavailable,
    StartFailed,
)
from infrastructure.runtimes.daemon_id import make_daemon_id, read_daemon_id
from infrastructure.runtimes.executor_process import ChildProcesses, ExecutorProcess, ExecutorProgram, LeftoversSurvive
from infrastructure.runtimes.executor_setup import ExecutorSetup
from infrastructure.runtimes.folder_lock import StillLocked
from infrastructure.runtimes.worker_folder import (
    FolderOfAnotherSession,
    WorkerFolder,
    all_folders,
    folder_of,
    prepare_workers,
)

PASSED_ON = frozenset(
    {"PATH", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR"}
)
"""The variables of our own environment that an executor gets. What its agents need comes with each run."""

Result = TypeVar("Result")


class ProcessWorkerRuntime:
    """Implements WorkerRuntime. Executors outlive this process; the next process on the same home adopts them.

    `environment` is this process's; of it executors get `PASSED_ON`. `executor_argv` starts the executor, before
    `--config FILE`. Timeouts are in seconds.
    """

    name = "process"

    def __init__(
        self,
        home: Path,
        setup: ExecutorSetup,
        *,
        environment: Mapping[str, str],
        executor_argv: tuple[str, ...] = (sys.executable, "-P", "-m", "interfaces.executor"),
        start_timeout_s: float = 30.0,
        stop_timeout_s: float = 25.0,
        threads: int = 32,
    ) -> None:
        self._workers = prepare_workers(home)
        self._daemon_id = make_daemon_id(self._workers)
        self._setup = setup
        passed_on = {name: value for name, value in environment.items() if name in PASSED_ON}
        self._program = ExecutorProgram(
            argv=executor_argv, environment={**passed_on, **_import_path()}, redact=setup.redact
        )
        self._start_timeout_s = start_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._lock_timeout_s = 2 * (start_timeout_s + stop_timeout_s)
        self._children = ChildProcesses()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="process-runtime")

    async def prepare(self) -> None:
        """Do nothing: a folder is all that it needs."""

    async def egress(self) -> str:
        return "whatever this machine reaches"

    async def create(self, spec: ContainerSpec) -> ContainerInfo:
        """Raises StartFailed if the folder can't be made, for example on a full disk or without write permission."""
        return await self._call(self._create, spec)

    async def start(self, spec: ContainerSpec, container_id: str, *, maintenance: bool = False) -> ContainerInfo:
        """Adopt the executor if it runs in this mode with this configuration, else end it and start a new one."""
        return await self._call(self._start, spec, container_id, maintenance)

    async def stop(self, spec: ContainerSpec, container_id: str) -> None:
        """SIGTERM, then SIGKILL to whatever is left; the folder stays. Raises RuntimeUnavailable if some survive."""
        await self._call(self._stop, WorkerFolder(self._workers, self._known(spec, container_id)))

    async def remove(self, spec: ContainerSpec, container_id: str) -> None:
        """Stop it and delete its folder. Raises RuntimeUnavailable if that fails; call again then."""
        await self._call(self._remove, WorkerFolder(self._workers, self._known(spec, container_id)))

    async def inspect(self, spec: ContainerSpec, container_id: str, daemon_id: str) -> ContainerInfo | None:
        return await self._call(self._inspect, spec, container_id, daemon_id)

    async def own_containers(self) -> list[OwnContainer]:
        return await self._call(self._own_containers)

    async def check(self) -> None:
        """Do nothing: there is no daemon."""

    async def oversized(self) -> list[OversizedContainer]:
        return []

    async def shutdown(self) -> None:
        """End all executors of this home at once, with their runs; their folders stay, as exited containers do."""
        await self._end_each(lambda _: True)

    async def end_idle(self) -> None:
        """End the executors without an active run; the others go on by themselves and are adopted later."""

        def idle(folder: WorkerFolder) -> bool:
            record = folder.record()
            if record is None or self._process(folder).running() is None:
                return True
            spec = ContainerSpec(session_id=record.session_id, generation=record.generation, token="")
            health = self._process(folder).health(spec)
            return health is not None and not health.active_runs

        await self._end_each(idle)

    def close(self) -> None:
        """Release the threads, and reap the executors of this process that have ended. The others stay."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._children.collect()

    def _create(self, spec: ContainerSpec) -> ContainerInfo:
        folder = folder_of(self._workers, spec)
        with self._locked(folder), _explained(folder):
            folder.make(spec)
        return self._info(folder)

    def _start(self, spec: ContainerSpec, container_id: str, maintenance: bool) -> ContainerInfo:
        folder = WorkerFolder(self._workers, self._known(spec, container_id))
        self._check_home(self._daemon_id)
        with _explained(folder, RuntimeUnavailable):
            if not folder.is_whole():
                raise ContainerGone(f"there is no {folder.path}, or no workspace in it")
        with self._locked(folder), _explained(folder):
            if not folder.is_whole():
                raise ContainerGone(f"{folder.path} was removed just now")
            folder.make(spec)
            mode: Literal["normal", "maintenance"] = "maintenance" if maintenance else "normal"
            config = self._setup.config(spec, folder.name, folder.folders, mode=mode)
            process = self._process(folder)
            if process.adopt(spec, config, timeout_s=self._start_timeout_s) is None:
                process.end(patience_s=self._stop_timeout_s)
                process.boot(spec, config, timeout_s=self._start_timeout_s)
        return self._info(folder)

    def _stop(self, folder: WorkerFolder) -> None:
        self._check_home(self._daemon_id)
        with _explained(folder, RuntimeUnavailable):
            if not folder.exists():
                return
            with self._locked(folder):
                self._process(folder).end(patience_s=self._stop_timeout_s)

    def _remove(self, folder: WorkerFolder) -> None:
        self._check_home(self._daemon_id)
        with _explained(folder, RuntimeUnavailable), self._locked(folder):
            if folder.exists():
                self._process(folder).end(patience_s=self._stop_timeout_s)
            folder.delete()

    def _inspect(self, spec: ContainerSpec, container_id: str, daemon_id: str) -> ContainerInfo | None:
        folder = WorkerFolder(self._workers, self._known(spec, container_id))
        with _explained(folder, RuntimeUnavailable):
            whole = folder.is_whole()
            self._check_home(daemon_id)
            return self._info(folder) if whole else None

    def _own_containers(self) -> list[OwnContainer]:
        self._check_home(self._daemon_id)
        found = []
        for folder in all_folders(self._workers):
            record = folder.record()
            if record:
                found.append(
                    OwnContainer(
                        container_id=record.id,
                        session_id=record.session_id,
                        generation=record.generation,
                        status=self._status(folder),
                        created_at=record.created_at,
                    )
                )
        return found

    def _info(self, folder: WorkerFolder) -> ContainerInfo:
        status = self._status(folder)
        endpoint = self._process(folder).endpoint()
        return ContainerInfo(
            container_id=folder.name,
            runtime=self.name,
            daemon_id=self._daemon_id,
            status=status,
            url=endpoint.url if endpoint else "",
            exit_log=self._setup.redact(folder.log_tail()) if status == "exited" else "",
        )

    def _status(self, folder: WorkerFolder) -> Literal["created", "running", "exited"]:
        if self._process(folder).running():
            return "running"
        return "exited" if folder.config_file.exists() else "created"

    def _known(self, spec: ContainerSpec, container_id: str) -> str:
        name = folder_of(self._workers, spec).name
        if container_id != name:
            raise RuntimeUnavailable(
                f"{container_id} is no container of this runtime, where that of {spec.session_id} is {name}"
            )
        return name

    def _check_home(self, daemon_id: str) -> None:
        try:
            present = read_daemon_id(self._workers)
        except OSError as error:
            raise RuntimeUnavailable(f"{self._workers} can't be read: {error}") from error
        if present != daemon_id:
            raise RuntimeUnavailable(f"{self._workers} is {present or 'empty'}, the container is in {daemon_id}")

    def _process(self, folder: WorkerFolder) -> ExecutorProcess:
        return ExecutorProcess(folder, self._program, self._children)

    @contextmanager
    def _locked(self, folder: WorkerFolder) -> Iterator[None]:
        try:
            with folder.lock.held(self._lock_timeout_s):
                yield
        except StillLocked as error:
            raise RuntimeUnavailable(str(error)) from error

    async def _end_each(self, wanted: Callable[[WorkerFolder], bool]) -> None:
        def end(folder: WorkerFolder) -> None:
            if folder.process() and wanted(folder):
                self._stop(folder)

        folders = await self._call(lambda: list(all_folders(self._workers)))
        if not folders:
            return
        # Not the pool, which has a limit: all of them are ended at the same time.
        with ThreadPoolExecutor(len(folders), thread_name_prefix="process-runtime-end") as pool:
            loop = asyncio.get_running_loop()
            results = await asyncio.gather(
                *(loop.run_in_executor(pool, end, folder) for folder in folders), return_exceptions=True
            )
        errors = [result for result in results if isinstance(result, BaseException)]
        if errors:
            raise errors[0]

    async def _call(self, work: Callable[..., Result], *arguments: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)


@contextmanager
def _explained(folder: WorkerFolder, kind: type[Exception] = StartFailed) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = {
            errno.ENOSPC: "the disk is full",
            errno.EDQUOT: "the disk quota is used up",
            errno.EACCES: "permission denied",
            errno.EPERM: "permission denied",
            errno.EROFS: "the file system is read-only",
        }.get(error.errno or 0, error.strerror or str(error))
        raise kind(f"{folder.name}: {reason} ({error.filename or folder.path})") from error
    except (LeftoversSurvive, FolderOfAnotherSession) as error:
        raise kind(str(error)) from error


def _import_path() -> dict[str, str]:
    """The variables with which an executor imports this code: none if it is installed, else PYTHONPATH."""
    root = Path(__file__).resolve().parents[2]
    installed = {Path(sysconfig.get_path(kind)).resolve() for kind in ("purelib", "platlib")}
    return {} if root in installed else {"PYTHONPATH": str(root)}

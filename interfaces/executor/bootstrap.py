"""The composition root of the executor: ties the HTTP side to the workspace engine and the providers, and runs it."""

import asyncio
import contextlib
import fcntl
import hashlib
import logging
import os
import resource
import signal
import socket
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import uvicorn

from application.executor_protocol import ExecutorConfig
from domain.errors import Conflict
from infrastructure.durable_file import write_durably
from infrastructure.journal.run_journal import JournalFailed
from infrastructure.object_store.errors import ObjectStoreRefused, ObjectStoreUnavailable
from infrastructure.object_store.location import S3Location
from infrastructure.object_store.s3 import S3ObjectStore
from infrastructure.providers.agent_processes import AgentProcesses
from infrastructure.providers.provider_runs import ProviderRuns, Surroundings
from infrastructure.workspace.confined import RootGone
from infrastructure.workspace.engine import WorkspaceEngine
from interfaces.executor.app import ExecutorApi
from interfaces.executor.config import ConfigRefused
from interfaces.executor.guard import Activity, Guard
from interfaces.logging import keep_out_of_logs

_JOURNAL_THREADS = 3
_SHUTDOWN_S = 20
_LOOK_AROUND_S = 2.0
_BACKLOG = 128
_OTHER_ERRORS: dict[type[Exception], tuple[int, str]] = {
    ObjectStoreUnavailable: (503, "object_store_unavailable"),
    ObjectStoreRefused: (502, "object_store_refused"),
    JournalFailed: (507, "journal_failed"),
}
_log = logging.getLogger("fleetlog.executor")


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The content of `endpoint.json`."""

    url: str
    boot_id: str
    pid: int


async def serve(config: ExecutorConfig) -> None:
    """Serve until SIGTERM or SIGINT, or until nobody has needed the executor for `idle_exit_s`."""
    state_dir = _made(Path(config.state_dir))
    with _only_one(state_dir):
        _allow_many_files()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        store = _object_store(config)
        async with _assembled(config, state_dir, store) as (api, runs, boot_id):
            await _serve_until(stop, config, state_dir, api, runs, boot_id)


def _marker(config: ExecutorConfig, state_dir: Path) -> str:
    """The variable that tells this worker's agents from all others on the machine: another installation may have a
    session of the same name."""
    place = hashlib.sha256(str(state_dir.resolve()).encode()).hexdigest()[:16]
    return f"FLEETLOG_WORKER={config.session_id}/{config.container_id}/{place}"


@contextlib.asynccontextmanager
async def _assembled(
    config: ExecutorConfig, state_dir: Path, store: S3ObjectStore
) -> AsyncIterator[tuple[ExecutorApi, ProviderRuns, str]]:
    boot_id = uuid.uuid4().hex
    spool_dir = state_dir / "spool"
    _emptied(spool_dir)
    journal_pool = ThreadPoolExecutor(_JOURNAL_THREADS, thread_name_prefix="journal")
    process_pool = ThreadPoolExecutor(2, thread_name_prefix="process")
    processes = AgentProcesses(_marker(config, state_dir), process_pool, user=config.agent_user)
    processes.adopt_orphans()

    async def quiesce(session_seq: int) -> None:
        await runs.quiesce(session_seq)

    try:
        engine = WorkspaceEngine(
            inherited=os.environ,
            workspace_dir=Path(config.workspace_dir),
            home_dir=Path(config.home_dir),
            state_dir=state_dir,
            store=store,
            generation=config.generation,
            quiesce=quiesce,
            agent_user=config.agent_user,
        )
    except RootGone as error:
        raise ConfigRefused(f"{error}; it had been restored, and nothing else may pass for it") from error

    def admit() -> None:
        if config.maintenance:
            raise Conflict("this worker runs for maintenance only; it takes no runs", "maintenance")
        engine.require_restored()
        if engine.gate_closing:
            raise Conflict("a gate sync is under way; no run may start now", "gate_under_way")

    runs = ProviderRuns(
        state_dir=state_dir,
        boot_id=boot_id,
        processes=processes,
        pool=journal_pool,
        surroundings=Surroundings(
            folder=engine.root,
            admit=admit,
            environment=engine.environment,
            private_folder=config.home_dir,
            put_output=engine.put_output,
            inherited=dict(os.environ),
        ),
    )
    keep_out_of_logs(runs.redactor.json)
    await runs.recover()
    api = ExecutorApi(
        config, boot_id=boot_id, workspace=engine, runs=runs, spool_dir=spool_dir, other_errors=_OTHER_ERRORS
    )
    try:
        yield api, runs, boot_id
    finally:
        await asyncio.to_thread(engine.close)
        journal_pool.shutdown(wait=True, cancel_futures=True)
        process_pool.shutdown(wait=True, cancel_futures=True)


async def _serve_until(
    stop: asyncio.Event,
    config: ExecutorConfig,
    state_dir: Path,
    api: ExecutorApi,
    runs: ProviderRuns,
    boot_id: str,
) -> None:
    activity = Activity()
    endpoint_file = state_dir / "endpoint.json"
    with socket.create_server((config.host, config.port), backlog=_BACKLOG) as listener:
        # Connections inherit it. Without it each answer on a kept connection waits 40 ms for the other side's ACK.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        host, port = listener.getsockname()[:2]
        endpoint = Endpoint(url=f"http://{host}:{port}", boot_id=boot_id, pid=os.getpid())
        server = _Server(
            uvicorn.Config(
                Guard(api.app(), token=config.token, activity=activity),
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                timeout_graceful_shutdown=_SHUTDOWN_S,
                timeout_keep_alive=75,
            ),
            started=lambda: write_durably(endpoint_file, msgspec.json.encode(endpoint)),
        )
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        stopping = asyncio.create_task(stop.wait())
        idling = asyncio.create_task(_until_idle(config.idle_exit_s, activity, runs))
        removed = asyncio.create_task(_until_removed(state_dir))
        reasons = {serving: "server ended", stopping: "told to", idling: "idle", removed: f"{state_dir} is gone"}
        try:
            done, _ = await asyncio.wait(reasons, return_when=asyncio.FIRST_COMPLETED)
            _log.info("ending: %s", ", ".join(reason for task, reason in reasons.items() if task in done))
            async with asyncio.timeout(_SHUTDOWN_S):
                await runs.close()
        finally:
            for task in (stopping, idling, removed):
                task.cancel()
            server.should_exit = True
            await serving
            endpoint_file.unlink(missing_ok=True)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, *, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell_started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._tell_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # The signals are ours: agents end before the server does.
        yield


async def _until_idle(limit_s: int, activity: Activity, runs: ProviderRuns) -> None:
    if limit_s <= 0:
        await asyncio.Event().wait()
    while runs.active_runs or activity.idle_s() < limit_s:  # noqa: ASYNC110  time itself is awaited here
        await asyncio.sleep(min(max(limit_s - activity.idle_s(), 0.05), limit_s))


async def _until_removed(state_dir: Path) -> None:
    """Until somebody has removed the folder: nothing can be recorded then, and nobody would find this process again."""
    while state_dir.exists():  # noqa: ASYNC110, ASYNC240  no event tells it everywhere; one look costs microseconds
        await asyncio.sleep(_LOOK_AROUND_S)


def _object_store(config: ExecutorConfig) -> S3ObjectStore:
    return S3ObjectStore(
        S3Location(
            endpoint=config.s3_endpoint,
            bucket=config.s3_bucket,
            region=config.s3_region,
            access_key=config.s3_access_key,
            secret_key=config.s3_secret_key,
        )
    )


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _emptied(folder: Path) -> None:
    for left in _made(folder).iterdir():
        left.unlink()


@contextlib.contextmanager
def _only_one(state_dir: Path) -> Iterator[None]:
    fd = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigRefused(f"another executor serves {state_dir} already") from error
        yield
    finally:
        os.close(fd)


def _allow_many_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536) if hard != resource.RLIM_INFINITY else 65536, hard))

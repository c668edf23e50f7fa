"""The composition root of the executor: builds the workspace engine, the runs and the HTTP service, and serves them."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import msgspec

from application.executor_protocol import ADDRESS_FILE, ExecutorAddress, ExecutorConfig
from application.ports.object_store import BucketMissing, ObjectStoreRefused, ObjectStoreUnavailable
from infrastructure.durable_file import write_durably
from infrastructure.executor.journal.run_journal import JournalFailed
from infrastructure.executor.lifetime import first_ending, until_idle, until_removed
from infrastructure.executor.providers.descriptions import cli_files
from infrastructure.executor.runs.admission import admit_run
from infrastructure.executor.runs.agent_processes import AgentProcesses, worker_marker
from infrastructure.executor.runs.provider_runs import ProviderRuns, RunEnvironment
from infrastructure.executor.runs.renewed_credentials import use_renewed
from infrastructure.executor.state_folder import StateFolderInUse, emptied, exclusive_lock, made
from infrastructure.executor.workspace.confined import RootGone
from infrastructure.executor.workspace.engine import WorkspaceEngine
from infrastructure.object_store.location import S3Location
from infrastructure.object_store.s3 import S3ObjectStore
from infrastructure.open_files import allow_many_files
from infrastructure.system_clock import new_id
from interfaces.executor.app import ExecutorApi
from interfaces.executor.config import ConfigRefused
from interfaces.executor.guard import Activity, Guard
from interfaces.executor.kept_log import KeptLog
from interfaces.http_conventions.server import HttpServer, listening, url_of
from interfaces.logging import also_log_to, keep_out_of_logs

_JOURNAL_THREADS = 3
_SHUTDOWN_S = 20
_OTHER_ERRORS: dict[type[Exception], tuple[int, str]] = {
    ObjectStoreUnavailable: (503, "object_store_unavailable"),
    BucketMissing: (502, "bucket_missing"),
    ObjectStoreRefused: (502, "object_store_refused"),
    JournalFailed: (507, "journal_failed"),
}


async def serve(config: ExecutorConfig) -> None:
    """Serve until SIGTERM or SIGINT, until there was no run and no call for `idle_exit_s`, or until the state folder is
    deleted. Raises ConfigRefused."""
    state_dir = made(Path(config.state_dir))
    try:
        with exclusive_lock(state_dir):
            allow_many_files()
            stop = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
            store = S3ObjectStore(_location(config))
            async with _assembled(config, state_dir, store) as (api, runs, boot_id):
                await _serve_until(stop, config, state_dir, api, runs, boot_id, store)
    except StateFolderInUse as error:
        raise ConfigRefused(str(error)) from error


@contextlib.asynccontextmanager
async def _assembled(
    config: ExecutorConfig, state_dir: Path, store: S3ObjectStore
) -> AsyncIterator[tuple[ExecutorApi, ProviderRuns, str]]:
    boot_id = new_id()
    spool_dir = emptied(state_dir / "spool")
    journal_pool = ThreadPoolExecutor(_JOURNAL_THREADS, thread_name_prefix="journal")
    process_pool = ThreadPoolExecutor(2, thread_name_prefix="process")
    marker = worker_marker(config.session_id, config.container_id, state_dir)
    processes = AgentProcesses(marker, process_pool, user=config.agent_user)
    processes.adopt_orphans()

    async def quiesce(session_seq: int) -> None:
        await runs.quiesce(session_seq)

    try:
        engine = WorkspaceEngine(
            executor_variables=os.environ,
            cli_files=cli_files(),
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

    runs = ProviderRuns(
        state_dir=state_dir,
        boot_id=boot_id,
        processes=processes,
        pool=journal_pool,
        run_environment=RunEnvironment(
            folder=engine.root,
            admit=partial(admit_run, engine, maintenance=config.maintenance),
            prepare=engine.keep_out_of_git,
            agent_variables=engine.environment,
            private_folder=config.home_dir,
            put_output=engine.put_output,
            executor_variables=dict(os.environ),
        ),
    )
    runs.learn_secrets(_location(config).credentials.secrets)
    kept_log = KeptLog()
    stop_keeping = also_log_to(kept_log)
    keep_out_of_logs(runs.redactor.json)
    await runs.recover()
    api = ExecutorApi(
        config,
        boot_id=boot_id,
        workspace=engine,
        runs=runs,
        spool_dir=spool_dir,
        other_errors=_OTHER_ERRORS,
        kept_log=kept_log,
    )
    try:
        yield api, runs, boot_id
    finally:
        stop_keeping()
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
    store: S3ObjectStore,
) -> None:
    activity = Activity()
    address_file = state_dir / ADDRESS_FILE
    with listening(config.host, config.port) as listener:
        address = ExecutorAddress(url=url_of(listener), boot_id=boot_id, pid=os.getpid())
        server = HttpServer(
            Guard(api.app(), token=config.token, activity=activity, renew=partial(use_renewed, runs, store)),
            shutdown_s=_SHUTDOWN_S,
            started=partial(write_durably, address_file, msgspec.json.encode(address)),
        )
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        endings = {
            "told to": stop.wait(),
            "idle": until_idle(config.idle_exit_s, busy=lambda: runs.active_runs, idle_s=activity.idle_s),
            f"{state_dir} is gone": until_removed(state_dir),
        }
        try:
            await first_ending(serving, endings)
            async with asyncio.timeout(_SHUTDOWN_S):
                await runs.close()
        finally:
            server.end()
            await serving
            address_file.unlink(missing_ok=True)


def _location(config: ExecutorConfig) -> S3Location:
    return S3Location(
        endpoint=config.s3_endpoint,
        bucket=config.s3_bucket,
        region=config.s3_region,
        access_key=config.s3_access_key,
        secret_key=config.s3_secret_key,
        session_token=config.s3_session_token,
    )

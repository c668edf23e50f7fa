"""Composes `fleetlog project`: the supervisor of a user's own projection."""

import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import interfaces
from application.operations.consumer_control import UserProjectionControl
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from infrastructure.postgres.migrations import pending
from infrastructure.system_clock import now
from infrastructure.user_projections.projection_process import CHANNEL, PRESENT
from infrastructure.user_projections.supervisor import UserProjectionSupervisor
from infrastructure.user_projections.view_settings import check_schema
from interfaces.bootstrap.direct_access import reachable_database
from interfaces.bootstrap.startup_errors import startup_errors
from interfaces.errors import StartRefused
from interfaces.settings import Settings

PROGRAM = "interfaces.python.projection_process"
ROOT = Path(interfaces.__file__).resolve().parents[1]


@asynccontextmanager
async def user_projection_supervisor(
    settings: Settings, environment: Mapping[str, str], *, projection: str, view: str, schema: str
) -> AsyncIterator[UserProjectionSupervisor]:
    """`projection` and `view`: MODULE:CLASS, the view's may be empty. Raises SchemaRefused; SettingsError and
    StartRefused when the database can't be used."""
    checked = check_schema(schema)
    dsn = await reachable_database(settings)
    with startup_errors():
        missing = await pending(dsn)
    if missing:  # not applied here: older servers may still run on this database
        raise StartRefused(
            f"the database lacks {len(missing)} migrations of this version, from {missing[0]} on; run "
            "`fleetlog migrate` first, or `fleetlog up`, which migrates its own Postgres"
        )
    async with GroupCommitEventStore(dsn) as store:
        yield UserProjectionSupervisor(
            dsn=dsn,
            control=UserProjectionControl(store=store, clock=now, names=()),
            # -P: the present folder is put on the path by the program itself, after our packages.
            command=(sys.executable, "-P", "-m", PROGRAM, CHANNEL, PRESENT, view, projection),
            projection_class=projection,
            schema=checked,
            environment={**environment, "PYTHONPATH": python_path(environment)},
            holder=f"{os.uname().nodename}-{os.getpid()}",
        )


def python_path(environment: Mapping[str, str]) -> str:
    """Fleetlog's packages are found wherever they are installed."""
    return os.pathsep.join(part for part in (str(ROOT), environment.get("PYTHONPATH", "")) if part)

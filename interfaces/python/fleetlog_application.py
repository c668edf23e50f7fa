"""The log of an installation, as an application of the `eventsourcing` library."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import psycopg
from eventsourcing.persistence import InfrastructureFactory
from eventsourcing.utils import Environment

from interfaces.errors import StartRefused
from interfaces.python.read_only_log import ReadOnlyLog
from interfaces.settings import Settings
from interfaces.settings_reading import load_settings

FIND_TIMEOUT_S = 30.0


class FleetlogApplication(ReadOnlyLog):
    """By DATABASE_URL, in the environment or in `env`; `of_installation` needs neither. `close` it when done, or use it
    as a context manager."""

    name = "fleetlog"
    defaults = {  # noqa: RUF012
        "PERSISTENCE_MODULE": "infrastructure.eventsourcing_library.factory",
        "CREATE_TABLE": "no",
        "IS_SNAPSHOTTING_ENABLED": "no",
    }

    @classmethod
    def of_installation(cls, settings: Settings | None = None) -> Self:
        """That of DATABASE_URL, or of the `fleetlog up` that runs on FLEETLOG_HOME. `settings`: by default those of the
        environment. Raises SettingsError when no server runs, StartRefused when the database can't be used."""
        from interfaces.bootstrap.direct_access import reachable_database

        if settings is None and os.environ.get("DATABASE_URL"):
            return cls()  # without the other settings that a server needs with it
        chosen = settings or load_settings(os.environ)
        with ThreadPoolExecutor(max_workers=1) as thread:  # a notebook's own thread has a running event loop
            found = thread.submit(
                lambda: asyncio.run(asyncio.wait_for(reachable_database(chosen), timeout=FIND_TIMEOUT_S))
            )
            try:
                dsn = found.result()
            except TimeoutError as error:
                raise StartRefused(
                    f"the database of `{chosen.home}` did not answer within {FIND_TIMEOUT_S:g} s; see `fleetlog doctor`"
                ) from error
        return cls(env={f"{cls.name.upper()}_DATABASE_URL": dsn})

    def construct_factory(self, env: Environment) -> InfrastructureFactory[Any]:
        """Raises OSError when it is not said where the log is, or not in a way that Postgres understands."""
        if not env.get("DATABASE_URL") and not env.get("POSTGRES_DBNAME"):
            raise OSError(
                "DATABASE_URL is not set, so it is not known where the log is; "
                "FleetlogApplication.of_installation() finds that of a running `fleetlog up`"
            )
        try:
            return super().construct_factory(env)
        except psycopg.ProgrammingError as error:
            raise OSError(f"DATABASE_URL is no address of a database: {error}") from error

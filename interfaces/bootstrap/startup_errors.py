"""Adapters' errors that keep Fleetlog from starting, as StartRefused."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from application.ports.object_store import ObjectStoreError
from infrastructure.embedded.errors import EmbeddedServerError
from infrastructure.postgres.migrations import MigrationRefused, migrate
from infrastructure.runtimes.docker_host import ContainersCannotCall
from infrastructure.runtimes.egress import EgressNotEnforceable
from interfaces.errors import StartRefused

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def startup_errors() -> Iterator[None]:
    """Turns those errors, raised inside, into StartRefused with the same text."""
    try:
        yield
    except (
        EmbeddedServerError,
        MigrationRefused,
        ContainersCannotCall,
        EgressNotEnforceable,
        ObjectStoreError,
    ) as error:
        raise StartRefused(str(error)) from error
    except psycopg.OperationalError as error:
        raise StartRefused(f"the database can't be used: {error}") from error
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        where = f": {error.filename}" if error.filename else ""
        raise StartRefused(f"a disk is full ({error.strerror}{where}); free some of it and start again") from error


async def migrate_database(dsn: str) -> list[str]:
    """Apply the missing migrations and functions; returns the names of what was applied. Raises StartRefused."""
    with startup_errors():
        return await migrate(dsn)

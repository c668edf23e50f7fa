"""The real servers that tests share: one Postgres and one S3 server per test run, for all of its processes."""

import hashlib
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from infrastructure.embedded.detached_process import Command
from infrastructure.embedded.object_store import EmbeddedObjectStore, ObjectStoreAccess, bucket_request
from infrastructure.embedded.postgres import EmbeddedPostgres
from infrastructure.embedded.server_account import ServerAccount
from infrastructure.postgres.migrations import migrate
from tests.support.async_run import run
from tests.support.debian_postgres import DebianPostgres
from tests.support.shared_run import one_at_a_time, run_folder

TEMPLATE = "migrated"
START_TIMEOUT_S = 240.0
MEMORY = Path("/dev/shm")
LEAST_MEMORY = 2 << 30
"""Bytes: the databases of a run's tests take a quarter of it at a time."""
QUICK_SETTINGS = {
    # What was committed survives the end of any process, not of the machine.
    "fsync": "off",
    "full_page_writes": "off",
    # The processes of a test run share it, and each test has a database, which the launcher would visit in turn.
    "max_connections": "500",
    "autovacuum_naptime": "10min",
}


_started: list[EmbeddedPostgres | EmbeddedObjectStore] = []
"""The shared servers that this process has started: they outlive it, and Python warns of a child that nobody holds."""


class QuickPostgres(EmbeddedPostgres):
    """The embedded Postgres without what protects data from a power cut."""

    def _command(self, account: ServerAccount, port: int) -> Command:
        command = super()._command(account, port)
        options = [part for name, value in QUICK_SETTINGS.items() for part in ("-c", f"{name}={value}")]
        return replace(command, argv=[*command.argv, *options])


class QuickDebianPostgres(QuickPostgres, DebianPostgres):
    """The same of Debian's."""


QUICK_SERVERS: dict[type[QuickPostgres], str] = {QuickPostgres: "pg", QuickDebianPostgres: "pg15"}


@dataclass
class PostgresServer:
    """`dsn` leads to a database that is nobody's; tests make their own. `shared_as`: its name within the test run."""

    dsn: str
    shared_as: str = "pg"
    created: list[str] = field(default_factory=list)
    has_template: bool = False

    def create_database(self, *, template: str = "template1") -> str:
        """The DSN of a new database, a copy of `template`; dropped at the end of the test session at the latest."""
        name = f"test_{secrets.token_hex(6)}"
        copied = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")  # half the cost of a copy by the WAL
        self._execute(copied.format(sql.Identifier(name), sql.Identifier(template)))
        self.created.append(name)
        return make_conninfo(self.dsn, dbname=name)

    def create_log(self) -> str:
        """The DSN of a new database with Fleetlog's schema, an empty log and an installation's id of its own."""
        dsn = self.create_database(template=self._template())
        with psycopg.connect(dsn, autocommit=True, connect_timeout=60) as connection:
            connection.execute("UPDATE installation SET id = %s", (secrets.token_hex(6),))
        return dsn

    def _template(self) -> str:
        """The name of the migrated database that logs are copies of."""
        if not self.has_template:
            with one_at_a_time(f"{self.shared_as}-template") as folder:
                if not (folder / "made").exists():
                    self._execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
                    run(migrate(make_conninfo(self.dsn, dbname=TEMPLATE)), timeout=START_TIMEOUT_S)
                    (folder / "made").touch()
            self.has_template = True
        return TEMPLATE

    def drop_database(self, dsn: str) -> None:
        """Drop a database that `create_database` made, whoever is still connected to it."""
        name = str(conninfo_to_dict(dsn)["dbname"])
        self.created.remove(name)
        self._execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.dsn, autocommit=True, connect_timeout=60) as connection:
            connection.execute(statement)


@dataclass(frozen=True)
class ObjectStoreServer:
    """Path-style S3 on loopback."""

    access: ObjectStoreAccess

    @property
    def endpoint(self) -> str:
        return self.access.endpoint

    @property
    def access_key(self) -> str:
        return self.access.access_key_id

    @property
    def secret_key(self) -> str:
        return self.access.secret_access_key

    @property
    def region(self) -> str:
        return self.access.region

    def create_bucket(self) -> str:
        """The name of a new, empty bucket."""
        return self.create_bucket_access().bucket

    def create_bucket_access(self) -> ObjectStoreAccess:
        """A new, empty bucket with all that a client needs for it."""
        access = replace(self.access, bucket=f"test-{secrets.token_hex(6)}")
        status = run(bucket_request("PUT", access, timeout=60))
        assert status == 200, f"making the bucket answered {status}"
        return access


@contextmanager
def running_postgres(home: Path, *, debian: bool = False) -> Iterator[PostgresServer]:
    """A server of its own, with the settings of an installation; `debian`: Debian's, with Debian's."""
    server = DebianPostgres(home) if debian else EmbeddedPostgres(home)
    dsn = run(server.start(), timeout=START_TIMEOUT_S)
    try:
        yield PostgresServer(dsn)
    finally:
        run(server.stop())


@contextmanager
def running_object_store(home: Path) -> Iterator[ObjectStoreServer]:
    server = EmbeddedObjectStore(home)
    access = run(server.start())
    try:
        yield ObjectStoreServer(access)
    finally:
        run(server.stop())


def shared_postgres(kind: type[QuickPostgres] = QuickPostgres) -> PostgresServer:
    """The test run's Postgres, of a kind; whoever needs it first starts it."""
    name = QUICK_SERVERS[kind]
    with one_at_a_time(name) as folder:
        server = kind(_in_memory(folder), start_timeout=START_TIMEOUT_S)
        _started.append(server)
        return PostgresServer(run(server.start(), timeout=START_TIMEOUT_S), shared_as=name)


def _in_memory(folder: Path) -> Path:
    """A folder for what `folder` is for, in memory where there is some. Each test's database is 300 files, which are
    made and deleted: ext4 passes over inodes that were deleted in the last minutes, one by one, and a run spent a third
    of its processor time in that search."""
    home = MEMORY / f"fleetlog-tests-{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"
    if not home.exists():
        if not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < LEAST_MEMORY:
            return folder
        home.mkdir()
    return home


def shared_object_store() -> ObjectStoreServer:
    """The test run's S3 server; whoever needs it first starts it."""
    with one_at_a_time("s3") as home:
        server = EmbeddedObjectStore(home, start_timeout=START_TIMEOUT_S)
        _started.append(server)
        return ObjectStoreServer(run(server.start(), timeout=START_TIMEOUT_S))


def stop_shared_servers() -> None:
    """At the end of the test run, in the process that leads it."""
    folder = run_folder()
    for kind, name in QUICK_SERVERS.items():
        if folder is not None and (folder / name).exists():
            home = _in_memory(folder / name)
            run(kind(home).stop(), timeout=START_TIMEOUT_S)
            if home != folder / name:
                shutil.rmtree(home)
    if folder is not None and (folder / "s3").exists():
        run(EmbeddedObjectStore(folder / "s3").stop(), timeout=START_TIMEOUT_S)

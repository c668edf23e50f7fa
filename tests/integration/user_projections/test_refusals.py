"""What `fleetlog project` refuses, with exit code 2 and a sentence that says what to do; and where views may lie."""

import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.support.servers import PostgresServer
from tests.support.user_projection import ProjectCommand, queue_runs, until

CLASSES = {
    "broken.py": "raise RuntimeError('no such day')",
    "leaving.py": "raise SystemExit(0)",
    "needy.py": "import nonesuch_at_all",
    "projections.py": "class Mine: ...",
    "others.py": (
        "from typing import Any\n"
        "from eventsourcing.projection import Projection\n"
        "class Viewless(Projection[Any]):\n"
        "    name = 'Viewless'\n"
        "    def process_event(self, domain_event, tracking): ...\n"
        "class Runs(Projection[Any]):\n    name = 'runs'\n    def process_event(self, domain_event, tracking): ...\n"
        "class Plain: ...\n"
        "class Letters(Viewless):\n    name = 'Letters'\n    topics = 'run.queued'\n"
        "class Typo(Viewless):\n    name = 'Typo'\n    topics = ('run.qeued',)\n"
    ),
}
REFUSED = {
    "counting": "'counting' is not of the form MODULE:CLASS",
    "nonesuch:Counting": "there is no module 'nonesuch' in this folder",
    "counting:Nonesuch": "the module 'counting' has no 'Nonesuch'",
    "counting:Counts": "counting:Counts is no `eventsourcing.projection.Projection`",
    "broken:Counting": "the module 'broken' can't be imported: RuntimeError: no such day",
    "leaving:Counting": "the module 'leaving' can't be imported: SystemExit: 0",
    "needy:Counting": "the module 'needy' imports 'nonesuch_at_all', which there is not",
    "projections:Mine": "projections is a package of Fleetlog's own: name your module otherwise",
    "others:Viewless": "give `--view MODULE:CLASS`",
    "others:Letters": "write `topics = ('run.queued',)`",
    "others:Typo": "no event has that wire name; the closest one is 'run.queued'",
    "others:Runs": "which is a projection of Fleetlog's own",
}


def refused(project: ProjectCommand, *arguments: str, code: int = 2) -> str:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "interfaces.cli.main", "project", *arguments],
        cwd=project.folder, env=project.environment, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stderr


@pytest.fixture
def project(database: str, tmp_path: Path) -> ProjectCommand:
    for name, text in CLASSES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return ProjectCommand(database, tmp_path)


@pytest.mark.parametrize("topic", REFUSED)
def test_a_class_that_is_missing_or_is_none_is_named(project: ProjectCommand, topic: str) -> None:
    assert REFUSED[topic] in refused(project, topic)


def test_a_view_that_is_none_is_named(project: ProjectCommand) -> None:
    assert "others:Plain is no view" in refused(project, "counting:Counting", "--view", "others:Plain")


@pytest.mark.parametrize("schema", ["public", "read_models", "pg_mine", "My Schema"])
def test_views_lie_in_no_schema_of_fleetlogs(project: ProjectCommand, schema: str) -> None:
    assert "schema" in refused(project, "counting:Counting", "--schema", schema)


def test_a_database_that_lacks_migrations_is_left_as_it_is(empty_database: str, tmp_path: Path) -> None:
    project = ProjectCommand(empty_database, tmp_path)
    assert "`fleetlog migrate`" in " ".join(refused(project, "counting:Counting", code=1).split())
    with psycopg.connect(empty_database, connect_timeout=60) as connection:
        assert connection.execute("SELECT to_regclass('events')").fetchone() == (None,)


def test_it_can_be_stopped_while_its_module_is_imported(database: str, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import pathlib, time\npathlib.Path('begun').touch()\ntime.sleep(600)\n")
    with ProjectCommand(database, tmp_path, topic="slow:Counting") as project:
        until((tmp_path / "begun").exists, project.log)
        assert project.stop(signal.SIGINT) == 0


def test_views_lie_in_the_schema_that_is_given(database: str, tmp_path: Path) -> None:
    queue_runs(database, "ada")
    with ProjectCommand(database, tmp_path, "--schema", "mine", "--view", "counting:Counts") as project:
        project.becomes("running")
        project.counted({"ada": 1}, schema="mine")
        assert project.counts() == {}


def test_the_users_environment_says_where_a_view_lies(
    database: str, tmp_path: Path, postgres_server: PostgresServer
) -> None:
    queue_runs(database, "ada")
    elsewhere = postgres_server.create_database()
    part = {key: str(value) for key, value in conninfo_to_dict(elsewhere).items()}
    names = {"dbname": "DBNAME", "host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD"}
    settings = {f"COUNTING_POSTGRES_{name}": part[key] for key, name in names.items()}
    with ProjectCommand(database, tmp_path, **settings) as project:
        until(lambda: _counts(elsewhere) == [("ada", 1)], project.log)
        assert project.counts() == {}
    postgres_server.drop_database(elsewhere)


def _counts(dsn: str) -> list[tuple[str, int]]:
    try:
        with psycopg.connect(dsn, connect_timeout=60) as connection:
            return connection.execute("SELECT user_login_name, runs FROM public.counts").fetchall()
    except psycopg.errors.UndefinedTable:
        return []

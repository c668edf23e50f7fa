"""The how-to pages on projections and notebooks, executed as they stand; what a server shows of such a projection."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from interfaces.bootstrap.direct_access import reachable_database
from interfaces.settings_reading import load_settings
from tests.support.async_run import run
from tests.support.fleetlog_server import REPOSITORY, FleetlogServer
from tests.support.user_projection import until

PROJECTING = REPOSITORY / "docs/how-to/project-your-own.md"
NOTEBOOK = REPOSITORY / "docs/how-to/follow-the-log-from-a-notebook.md"
PATIENCE_S = 240


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def environment(server: FleetlogServer, folder: Path) -> dict[str, str]:
    """In which `fleetlog` is this repository's."""
    program = folder / "bin/fleetlog"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m interfaces.cli.main "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    own = server.environment()
    return own | {"PATH": f"{program.parent}{os.pathsep}{own['PATH']}", "PYTHONPATH": str(REPOSITORY)}


def executed(server: FleetlogServer, folder: Path, command: str, env: dict[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder, env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr + server.log_tail()
    return done.stdout


@pytest.mark.proof
def test_the_page_on_projections_makes_its_table_and_the_server_shows_it(
    own_fleetlog: FleetlogServer, tmp_path: Path
) -> None:
    for _ in range(2):
        own_fleetlog.finished("echo hello")
    (module,) = blocks(PROJECTING, "python")
    (query,) = blocks(PROJECTING, "sql")
    start, status, _, forget = blocks(PROJECTING, "sh")
    (tmp_path / "runs_per_hour.py").write_text(module, encoding="utf-8")
    env = environment(own_fleetlog, tmp_path)
    dsn = run(reachable_database(load_settings(env)))

    def rows() -> list[tuple[str, int]]:
        try:
            with psycopg.connect(dsn, connect_timeout=60) as connection:
                return connection.execute(query.encode()).fetchall()
        except psycopg.errors.UndefinedTable:
            return []

    def ready() -> str:
        answer = own_fleetlog.client.get("/ready")
        assert answer.status_code == 200, answer.text
        return str({each["name"]: each["detail"] for each in answer.json()["dependencies"]}["user projections"])

    def metrics() -> str:
        return own_fleetlog.client.get("/metrics").text

    with (tmp_path / "project.log").open("wb") as log:
        project = subprocess.Popen(["bash", "-c", f"exec {start}"], cwd=tmp_path, env=env, stdout=log, stderr=log)
    try:
        until(lambda: [int(count) for _, count in rows()] == [2], (tmp_path / "project.log").read_text)
        assert "RunsPerHour" in executed(own_fleetlog, tmp_path, status, env)
        until(lambda: "RunsPerHour is running" in ready())
        # The log goes on after a run's end (its snapshot, its worker's stop), so the lag is 0 only in between.
        until(lambda: 'fleetlog_user_projection_lag_events{projection="RunsPerHour"} 0.0' in metrics(), metrics)
        assert 'fleetlog_user_projection_running{projection="RunsPerHour"} 1.0' in metrics()
        assert 'fleetlog_user_projection_restarts{projection="RunsPerHour"} 0.0' in metrics()

        # An event that it can't take: the server stays ready.
        with psycopg.connect(dsn, connect_timeout=60) as connection:
            connection.execute("ALTER TABLE projections.runs_per_hour RENAME TO moved")
        own_fleetlog.finished("echo hello")
        until(lambda: "RunsPerHour is stopped at position" in ready(), (tmp_path / "project.log").read_text)
        with psycopg.connect(dsn, connect_timeout=60) as connection:
            connection.execute("ALTER TABLE projections.moved RENAME TO runs_per_hour")
        executed(own_fleetlog, tmp_path, 'fleetlog projections retry RunsPerHour --reason "mended"', env)
        until(lambda: [int(count) for _, count in rows()] == [3], (tmp_path / "project.log").read_text)
    finally:
        project.send_signal(signal.SIGTERM)
        assert project.wait(timeout=PATIENCE_S) == 0
    assert "RunsPerHour is not running" in ready()
    executed(own_fleetlog, tmp_path, forget, env)
    assert ready() == "none"


@pytest.mark.proof
def test_the_page_on_notebooks_runs_from_its_first_cell_to_its_last(
    own_fleetlog: FleetlogServer, tmp_path: Path
) -> None:
    own_fleetlog.finished("echo hello")
    (export,) = blocks(NOTEBOOK, "sh")
    *cells, of_the_export = blocks(NOTEBOOK, "python")
    env = environment(own_fleetlog, tmp_path)
    executed(own_fleetlog, tmp_path, export, env)
    # A kernel runs its cells in one process, inside of a running event loop.
    notebook = "\n".join(
        [
            "import asyncio",
            f"cells = {[*cells, of_the_export]!r}",
            "async def kernel():",
            "    for cell in cells:",
            "        exec(cell, globals())",
            "asyncio.run(kernel())",
        ]
    )
    (tmp_path / "notebook.py").write_text(notebook, encoding="utf-8")

    said = executed(own_fleetlog, tmp_path, f'"{sys.executable}" notebook.py', env)

    assert "Queued -> Finished" in said

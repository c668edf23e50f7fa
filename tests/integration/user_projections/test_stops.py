"""An event that a user's projection can't process stops it, until a person says retry or skip."""

import json
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from domain.identifiers import run_stream
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from tests.support.async_run import run
from tests.support.raw_append import append_raw
from tests.support.recorded import EPOCH
from tests.support.user_projection import PATIENCE_S, ProjectCommand, queue_runs, rows, until


def stops_of(database: str) -> list[str]:
    found = rows(database, "SELECT type FROM events WHERE stream = 'user_projection:Counting' ORDER BY seq")
    return [row["type"] for row in found]


def test_it_stops_at_a_poisonous_event_by_name_and_goes_on_after_a_retry(database: str, tmp_path: Path) -> None:
    queue_runs(database, "ada", "poison", "bob")
    with ProjectCommand(database, tmp_path) as project:
        stopped = project.becomes("stopped")
        assert (stopped["error_position"], stopped["error_type"]) == (3, "run.queued")
        assert stopped["error"] == "ValueError: poison"
        assert project.counts() == {"ada": 1}
        shown = project.status()
        assert shown is not None
        assert (shown["status"], shown["lagEvents"], shown["lagIsMore"]) == ("stopped", 2, False)
        assert stops_of(database) == ["user_projection.stopped"]

        (tmp_path / "mended").touch()
        told = json.loads(project.command("projections", "retry", "Counting", "--reason", "mended", "--json"))
        assert told["position"] > 0
        project.counted({"ada": 1, "bob": 1, "poison": 1})
        running = project.becomes("running")
        assert running["error"] is None
        assert stops_of(database) == ["user_projection.stopped", "user_projection.retried"]


def test_a_skipped_event_is_left_out_also_after_a_restart(database: str, tmp_path: Path) -> None:
    queue_runs(database, "poison", "bob")
    with ProjectCommand(database, tmp_path) as project:
        project.becomes("stopped")
        refused = project.command("projections", "skip", "Counting", "--position", "2", code=1)
        assert "position 1" in refused
        project.command("projections", "skip", "Counting", "--position", "1")
        project.counted({"bob": 1})
        assert project.stop() == 0
        project.start()
        queue_runs(database, "bob", prefix="later")
        project.counted({"bob": 2})
    assert stops_of(database) == ["user_projection.stopped", "user_projection.skipped"]


def test_a_stop_outlives_the_supervisor(database: str, tmp_path: Path) -> None:
    queue_runs(database, "poison", "bob")
    with ProjectCommand(database, tmp_path) as project:
        error = project.becomes("stopped")["error"]
        assert project.stop() == 0
        assert "nobody" in project.command("projections", "status")
        project.start()
        assert project.becomes("stopped")["error"] == error
        project.command("projections", "retry", "Counting")
        # It stops there again, by another event of the log.
        project.becomes("stopped")
    assert stops_of(database)[:2] == ["user_projection.stopped", "user_projection.retried"]


def test_an_unknown_name_can_be_neither_retried_nor_skipped(database: str, tmp_path: Path) -> None:
    with ProjectCommand(database, tmp_path) as project:
        project.becomes("running")
        refused = project.command("projections", "retry", "nonesuch", code=1)
    assert "no projection 'nonesuch' is known; there are: " in refused
    assert "runs" in refused
    assert "Counting" in refused


def test_a_process_that_crashes_is_restarted_and_the_status_says_at_which_event(database: str, tmp_path: Path) -> None:
    queue_runs(database, "ada", "crash", "bob")
    with ProjectCommand(database, tmp_path) as project:
        crashed = until(lambda: row if (row := project.row()).get("error") else None, project.log)
        assert crashed["error"] == "it ended with exit code 3"
        assert (crashed["error_position"], crashed["error_type"]) == (3, "run.queued")
        assert project.counts() == {"ada": 1}
        assert stops_of(database) == []
        (tmp_path / "mended").touch()
        project.counted({"ada": 1, "bob": 1, "crash": 1})
        assert project.becomes("running")["restarts"] >= 1


def test_an_event_at_which_it_crashes_again_and_again_stops_it(database: str, tmp_path: Path) -> None:
    queue_runs(database, "ada", "crash", "bob")
    with ProjectCommand(database, tmp_path) as project:
        stopped = project.becomes("stopped")
        assert stopped["error"] == "it ended with exit code 3, 3 times in a row at this event"
        assert (stopped["error_position"], stopped["error_type"]) == (3, "run.queued")
        until(lambda: "is stopped at position 3" in project.log(), project.log)
        assert "stays stopped" not in project.log()
        project.command("projections", "skip", "Counting", "--position", "3")
        project.counted({"ada": 1, "bob": 1})
    assert stops_of(database) == ["user_projection.stopped", "user_projection.skipped"]


@pytest.mark.parametrize(
    ("user", "error"), [("leave", "SystemExit: 0"), ("speechless", "Speechless: its text can't be made (ValueError)")]
)
def test_whatever_is_raised_stops_it_by_name(database: str, tmp_path: Path, user: str, error: str) -> None:
    queue_runs(database, user, "bob")
    with ProjectCommand(database, tmp_path) as project:
        assert project.becomes("stopped")["error"] == error
        assert project.row()["restarts"] == 0


def test_it_waits_at_an_event_that_newer_code_has_written_and_asks_nobody(database: str, tmp_path: Path) -> None:
    queue_runs(database, "ada")

    async def append_newer() -> None:
        async with GroupCommitEventStore(database) as store:
            await append_raw(store, run_stream("newer"), 0, [("run.queued", 99, b"{}", EPOCH)])

    run(append_newer())
    with ProjectCommand(database, tmp_path) as project:
        waiting = project.becomes("waiting")
        assert (waiting["error_position"], waiting["error_type"]) == (3, "run.queued")
        assert "schema version 99" in waiting["error"]
        assert project.counts() == {"ada": 1}
        assert "is not stopped" in project.command("projections", "retry", "Counting", code=1)
    assert stops_of(database) == []


def test_one_that_has_ended_is_forgotten_until_it_runs_again(database: str, tmp_path: Path) -> None:
    queue_runs(database, "ada")
    with ProjectCommand(database, tmp_path) as project:
        project.becomes("running")
        assert "stop that first" in project.command("projections", "forget", "Counting", code=1)
        assert project.stop() == 0
        project.command("projections", "forget", "Counting", "--reason", "replaced")
        assert project.status() is None
        assert "no user's projection 'runs'" in project.command("projections", "forget", "runs", code=1)
        project.start()
        project.becomes("running")
        project.counted({"ada": 1})
    assert stops_of(database) == ["user_projection.forgotten"]


def test_the_lag_of_one_that_has_not_run_for_a_day_is_not_counted(database: str, tmp_path: Path) -> None:
    with ProjectCommand(database, tmp_path) as project:
        project.becomes("running")
    queue_runs(database, "ada")
    shown = project.status()
    assert shown is not None
    assert (shown["lagEvents"], shown["lagIsCounted"]) == (1, True)
    with psycopg.connect(database, autocommit=True, connect_timeout=60) as connection:
        connection.execute("UPDATE user_projections SET heartbeat_at = heartbeat_at - interval '25 hours'")
    shown = project.status()
    assert shown is not None
    assert (shown["lagEvents"], shown["lagIsCounted"]) == (0, False)
    assert "not counted" in project.command("projections", "status")


def test_what_it_prints_is_not_mixed_with_the_announcement(database: str, tmp_path: Path) -> None:
    queue_runs(database, "loud")
    command = ProjectCommand(database, tmp_path)
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "interfaces.cli.main", "project", "counting:Counting", "--json"],
        cwd=tmp_path, env=command.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["projection"] == "Counting"
            until(lambda: command.counts() == {"loud": 1})
        finally:
            process.terminate()
        rest, said = process.communicate(timeout=PATIENCE_S)
    assert rest == b""
    assert b"heard" in said


def test_the_text_of_an_error_can_not_control_the_terminal(database: str, tmp_path: Path) -> None:
    queue_runs(database, "escape")
    with ProjectCommand(database, tmp_path) as project:
        project.becomes("stopped")
        until(lambda: "is stopped at position 1" in project.log(), project.log)
        assert "\x1b" not in project.log()

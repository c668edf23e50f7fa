"""An event that a user's projection can't process stops it, until a person says retry or skip."""

import json
from pathlib import Path

import psycopg

from domain.identifiers import run_stream
from infrastructure.postgres.event_store.store import GroupCommitEventStore
from tests.support.async_run import run
from tests.support.raw_append import append_raw
from tests.support.recorded import EPOCH
from tests.support.user_projection import ProjectCommand, queue_runs, rows


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
    project = ProjectCommand(database, tmp_path)
    assert "nonesuch" in project.command("projections", "retry", "nonesuch", code=1)


def test_a_process_that_crashes_is_restarted_after_pauses_and_the_status_says_so(database: str, tmp_path: Path) -> None:
    queue_runs(database, "ada", "crash", "bob")
    with ProjectCommand(database, tmp_path) as project:
        crashed = project.becomes("restarting")
        assert project.counts() in ({}, {"ada": 1})
        while crashed.get("restarts", 0) < 2:
            crashed = project.becomes("restarting")
        assert crashed["error"] == "it ended with exit code 3"
        assert project.counts() == {"ada": 1}
        assert stops_of(database) == []
        (tmp_path / "mended").touch()
        project.counted({"ada": 1, "bob": 1, "crash": 1})
        assert project.becomes("running")["restarts"] >= 2


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

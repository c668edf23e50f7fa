"""A user's projection has counted each event once, whoever is killed whenever."""

import os
import random
import signal
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.samples import samples
from tests.support.user_projection import ProjectCommand, queue_runs, rows, until

USERS = [f"user-{number % 7}" for number in range(210)]


def test_rows_are_in_the_schema_of_users_with_the_tracking_beside_them(database: str, tmp_path: Path) -> None:
    last = queue_runs(database, "ada", "bob", "ada")
    with ProjectCommand(database, tmp_path) as project:
        project.counted({"ada": 2, "bob": 1})
        tracked = rows(database, "SELECT * FROM projections.counting_tracking WHERE application_name = 'fleetlog'")
        assert tracked == [{"application_name": "fleetlog", "notification_id": last - 1}]
        queue_runs(database, "bob", prefix="later")
        project.counted({"ada": 2, "bob": 2})


def test_it_goes_on_where_it_was_when_it_starts_again(database: str, tmp_path: Path) -> None:
    queue_runs(database, "ada")
    with ProjectCommand(database, tmp_path) as project:
        project.counted({"ada": 1})
        assert project.stop(signal.SIGINT) == 0
        assert project.row()["status"] == "not running"
        queue_runs(database, "ada", "bob", prefix="later")
        project.start()
        project.counted({"ada": 2, "bob": 1})


@pytest.mark.proof
def test_each_event_is_counted_once_while_its_process_is_killed_again_and_again(database: str, tmp_path: Path) -> None:
    random_ = random.Random(5)
    kills = samples().size(whole=10, sample=6)  # the pause before a restart doubles with each
    with ProjectCommand(database, tmp_path) as project:
        project.becomes("running")
        for batch in range(kills):
            queue_runs(database, *USERS[batch::kills], prefix=f"b{batch}-")
            time.sleep(random_.random() * 0.1)  # somewhere in the batch
            os.kill(project.child(), signal.SIGKILL)
        project.counted(dict(Counter(USERS)))
        assert project.row()["restarts"] > 0
    assert project.counts() == dict(Counter(USERS))


@pytest.mark.proof
def test_another_supervisor_takes_over_from_one_that_is_killed(database: str, tmp_path: Path) -> None:
    queue_runs(database, "ada")
    (tmp_path / "second").mkdir()
    with ExitStack() as commands:
        first = commands.enter_context(ProjectCommand(database, tmp_path))
        first.counted({"ada": 1})
        second = commands.enter_context(ProjectCommand(database, tmp_path / "second"))
        until(lambda: "this one takes over when that ends" in " ".join(second.log().split()), second.log)
        orphan = first.child()
        os.kill(first.pid, signal.SIGKILL)
        queue_runs(database, "ada", "bob", prefix="later")
        second.counted({"ada": 2, "bob": 1})
        until(lambda: not Path(f"/proc/{orphan}/exe").exists())
        until(lambda: (second.row()["holder"] or "").endswith(f"-{second.pid}"), second.log)
        assert second.becomes("running")["restarts"] == 0
        first.stop(signal.SIGKILL)

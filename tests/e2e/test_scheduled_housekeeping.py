"""Idle workers are stopped and stopped ones removed by the clock; their files come back when they are wanted."""

from typing import Any

import pytest

from tests.support.fleetlog_parts import on_shared_postgres
from tests.support.fleetlog_server import FleetlogServer
from tests.support.session_history import checked_history, output


@pytest.mark.proof
def test_a_worker_that_idles_is_stopped_and_removed_by_the_clock_and_its_files_come_back(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    settings = {**on_shared_postgres(), "IDLE_TIMEOUT_MS": "1", "REMOVE_AFTER_MS": "1"}
    with FleetlogServer(tmp_path_factory.mktemp("clock") / "home", **settings) as server:
        output(server, "mkdir -p deep; echo work > deep/file; chmod 700 deep/file", "s")
        server.until_session("s", "session.run_detached")
        folder = server.worker_folder("s")

        stopped = until(server, "session.stopped")
        removed = until(server, "session.removed")

        assert not folder.exists()
        events = checked_history(server, "s")
        by_seq = {event["type"]: event for event in events}
        stop, remove = by_seq["session.stop_requested"], by_seq["session.remove_requested"]
        assert stop["payload"]["reason"] == "idle"
        assert (stop["metadata"]["actor"], remove["metadata"]["actor"]) == ("schedule", "schedule")
        assert stop["seq"] < stopped["seq"] < remove["seq"] < removed["seq"]
        assert output(server, "stat -c %a deep/file; cat deep/file", "s") == "700\nwork\n"


def until(server: FleetlogServer, event: str) -> dict[str, Any]:
    """An event of the session. Each round of the schedule may do its part: one at a start, the others by the minute."""
    server.ok("GET", "/api/session-workers/s")  # what a round looks at has seen the log
    assert server.stop() == 0
    server.start()
    return server.until_session("s", event)

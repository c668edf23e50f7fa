"""A browser for all tests of the console, and runs for it to show."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.support.browser import running_browser
from tests.support.console import WORK, ask, settled, start
from tests.support.fleetlog_server import FleetlogServer, new_id


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


@pytest.fixture(scope="package")
def session(shared_fleetlog: FleetlogServer) -> str:
    """One worker for the runs of all tests: they end what they start."""
    session_id = new_id("session")
    shared_fleetlog.activate(session_id)
    return session_id


@pytest.fixture(scope="package")
def finished(shared_fleetlog: FleetlogServer, session: str) -> str:
    """A run that has ended: with text, tools, todos and an answered question."""
    question = ask("q1", "Go on?", "yes", "no")
    run_id = start(shared_fleetlog, session, *WORK, question, "read -r answer", 'echo "heard $answer"')
    shared_fleetlog.until(run_id, "human_loop.requested")
    shared_fleetlog.ok("POST", "/api/human-loop/reply", json={"runId": run_id, "questionId": "q1", "answer": "yes"})
    shared_fleetlog.until(run_id, "run.finished")
    settled(shared_fleetlog, run_id)
    return run_id

"""Cancel in every state and at every moment of a run's life: its processes end, it ends once, and as canceled."""

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.agent_processes import assert_none_left, processes_of
from tests.support.fleetlog_parts import on_shared_postgres
from tests.support.fleetlog_server import FleetlogServer, new_id

pytestmark = pytest.mark.proof


ASKS = """echo '::fleetlog {"type": "question", "questionId": "q", "prompt": "go on?"}'; read -r answer"""
# A retry waits until its test is long over, and there is room for three workers.
SETTINGS = {"RUN_QUEUE_RETRY_DELAY_MS": "600000", "MAX_WORKERS": "3"}


@pytest.fixture(scope="module")
def fleetlog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetlogServer]:
    with FleetlogServer(tmp_path_factory.mktemp("cancel") / "home", **on_shared_postgres(), **SETTINGS) as server:
        yield server


@pytest.fixture(autouse=True)
def nothing_runs_on(fleetlog: FleetlogServer) -> Iterator[None]:
    """Whatever a test leaves under way ends with it."""
    yield
    end_everything(fleetlog)


def cancel(server: FleetlogServer, run_id: str) -> Any:
    return server.ok("POST", f"/api/runs/{run_id}/stop", json={"reason": "not wanted"})


def queued(server: FleetlogServer) -> str:
    ahead = server.enqueued(ASKS, sessionId="one", providerOptions={"interactive": True})
    server.until(ahead, "human_loop.requested")
    return server.enqueued("echo never > never", sessionId="one")


def waiting_for_a_place(server: FleetlogServer) -> str:
    """Three workers are held by a run each; a fourth session has none and gets none."""
    for session in ("one", "two", "three"):
        run_id = server.enqueued("echo up; sleep 600", sessionId=session)
        server.until(run_id, "message.delta")
    run_id = server.enqueued("echo never > never", sessionId="four")
    position = server.until(run_id, "run.phase")[-1]["data"]["position"]
    assert server.ok("GET", f"/api/runs/{run_id}", params={"minPosition": position})["state"] == "restoring"
    return run_id


def running(server: FleetlogServer) -> str:
    run_id = server.enqueued("sleep 600 & setsid sleep 600 & echo up; sleep 600", sessionId="one")
    server.until(run_id, "message.delta")
    assert processes_of(run_id)
    return run_id


def waiting_for_an_answer(server: FleetlogServer) -> str:
    run_id = server.enqueued(ASKS, sessionId="one", providerOptions={"interactive": True})
    server.until(run_id, "human_loop.requested")
    return run_id


def retrying(server: FleetlogServer) -> str:
    run_id = server.enqueued("exit 1", sessionId="one", retryPolicy="always")
    server.until(run_id, "run.retry_scheduled")
    return run_id


def canceling(server: FleetlogServer) -> str:
    """Its agent takes its time: it was asked to end, and has not."""
    run_id = server.enqueued("trap 'sleep 2; exit' TERM; echo up; while true; do sleep 0.1; done", sessionId="one")
    server.until(run_id, "message.delta")
    cancel(server, run_id)
    return run_id


def blocked(server: FleetlogServer) -> str:
    run_id = new_id("run")
    server.problem(409, "POST", "/api/runs/start", json=server.run_body("echo", runId=run_id, requireHumanLoop=True))
    return run_id


STATES: dict[str, Callable[[FleetlogServer], str]] = {
    "queued": queued,
    "restoring": waiting_for_a_place,
    "running": running,
    "waiting_human": waiting_for_an_answer,
    "retrying": retrying,
    "canceling": canceling,
    "blocked": blocked,
}


def assert_canceled_once(server: FleetlogServer, run_id: str) -> None:
    history = server.history(run_id)
    kinds = [frame["event"] for frame in history]
    assert kinds[-1] == "run.finished"
    assert (kinds.count("run.finished"), kinds.count("run.cancel_requested")) == (1, 1)
    assert history[-1]["data"]["outcome"] == "canceled"
    assert_none_left(run_id)
    shown = server.ok("GET", f"/api/runs/{run_id}", params={"minPosition": history[-1]["data"]["position"]})
    assert (shown["state"], shown["openQuestions"]) == ("canceled", [])
    again = cancel(server, run_id)
    assert (again["changed"], again["state"]) == (False, "canceled")


def end_everything(server: FleetlogServer) -> None:
    for state in ("running", "waiting_human", "queued", "restoring"):
        for run in server.ok("GET", "/api/runs", params={"state": state})["items"]:
            cancel(server, run["runId"])
            server.history(run["runId"])
    workers = server.ok("GET", "/api/session-workers", params={"limit": 500})["items"]
    stop_workers(server, *(worker["sessionId"] for worker in workers))


@pytest.mark.parametrize("state", STATES)
def test_a_cancel_in_any_state_ends_in_canceled(fleetlog: FleetlogServer, state: str) -> None:
    run_id = STATES[state](fleetlog)

    answer = cancel(fleetlog, run_id)

    assert answer["changed"] == (state != "canceling")
    assert_canceled_once(fleetlog, run_id)
    end_everything(fleetlog)
    after = fleetlog.finished("ls", sessionId="one")["snapshot"]
    assert (after["state"], "never" in after["text"]) == ("succeeded", False)


def test_a_cancel_during_the_final_sync_lets_the_sync_end(fleetlog: FleetlogServer) -> None:
    run_id = fleetlog.enqueued("head -c 60000000 /dev/urandom > big", sessionId="one")
    fleetlog.until(run_id, "run.syncing")

    changed = cancel(fleetlog, run_id)["changed"]

    last = fleetlog.history(run_id)[-1]["data"]
    assert (last["outcome"], last["exported"]) == ("canceled" if changed else "succeeded", True)


def test_a_cancel_after_the_end_changes_nothing(fleetlog: FleetlogServer) -> None:
    run_id = fleetlog.finished("echo done", sessionId="one")["runId"]
    before = fleetlog.history(run_id)

    answer = cancel(fleetlog, run_id)

    assert (answer["changed"], answer["state"]) == (False, "succeeded")
    headers = {"Last-Event-ID": before[-1]["id"]}
    assert fleetlog.client.get(f"/api/runs/{run_id}/stream", headers=headers).status_code == 204


def test_a_run_that_nobody_knows_is_a_404(fleetlog: FleetlogServer) -> None:
    fleetlog.problem(404, "POST", "/api/runs/nobody-knows-it/stop")


LIFE = f"echo one; {ASKS}; echo two"


def cancel_at(server: FleetlogServer, session: str, event: int, pause_s: float = 0) -> None:
    """Start a run of a new or a known session, and cancel it right after its n-th event (0: at once)."""
    run_id = server.enqueued(LIFE, sessionId=session, providerOptions={"interactive": True})
    if event:
        for frame in server.frames(run_id):
            if int(frame.get("id", 0)) == event or frame["event"] == "human_loop.requested":
                break
    time.sleep(pause_s)
    assert cancel(server, run_id)["changed"]
    assert_canceled_once(server, run_id)


@pytest.mark.parametrize("known", [False, True], ids=["new session", "known session"])
def test_a_cancel_after_any_event_of_a_life(fleetlog: FleetlogServer, known: bool) -> None:
    session = new_id("session")
    for event in range(10):
        cancel_at(fleetlog, session, event)
        if not known:
            stop_workers(fleetlog, session)
            session = new_id("session")
    assert fleetlog.finished("echo alive", sessionId=session)["snapshot"]["state"] == "succeeded"
    stop_workers(fleetlog, session)


def stop_workers(server: FleetlogServer, *sessions: str) -> None:
    """Make room for others. A run that was canceled early has left no worker, or one that is on its way up."""
    deadline = time.monotonic() + 120
    left = list(sessions)
    while left := [one for one in left if not is_down(server, one)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def is_down(server: FleetlogServer, session: str) -> bool:
    return server.client.post(f"/api/session-workers/{session}/stop").status_code in {200, 404}


def test_a_cancel_is_not_forgotten_when_the_server_dies_right_after_it(fleetlog: FleetlogServer) -> None:
    run_ids = [running(fleetlog), queued_in(fleetlog, "two"), waiting_in(fleetlog, "three")]
    for run_id in run_ids:
        cancel(fleetlog, run_id)

    fleetlog.kill()
    fleetlog.start()

    for run_id in run_ids:
        assert_canceled_once(fleetlog, run_id)


def queued_in(server: FleetlogServer, session: str) -> str:
    return server.enqueued("sleep 600", sessionId=session)


def waiting_in(server: FleetlogServer, session: str) -> str:
    run_id = server.enqueued(ASKS, sessionId=session, providerOptions={"interactive": True})
    server.until(run_id, "human_loop.requested")
    return run_id


@pytest.mark.timeout(600)
def test_a_cancel_at_any_moment_at_length(fleetlog: FleetlogServer) -> None:
    chance = random.Random(5)
    session = new_id("session")
    for _ in range(100):
        cancel_at(fleetlog, session, chance.randint(0, 9), chance.random() * 0.05)
        if chance.random() < 0.3:
            stop_workers(fleetlog, session)
            session = chance.choice([session, new_id("session")])

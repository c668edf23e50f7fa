"""Many sessions at once on Docker: none fails, they come in order, and nothing is left behind."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.docker_containers import containers, remove_everything
from tests.support.docker_fleetlog import DockerFleetlog
from tests.support.samples import samples

STARTING = 8
WAIT_MS = 600_000

pytestmark = [pytest.mark.proof, pytest.mark.timeout(900)]


@pytest.fixture
def fleet(worker_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DockerFleetlog, str]]:
    home = tmp_path_factory.mktemp("many") / "home"
    settings = {"WORKER_RUNTIME": "docker", "WORKER_IMAGE": worker_image, "MAX_STARTING": str(STARTING)}
    with DockerFleetlog(home, **settings) as server:
        server.activate("first")
        installation = server.installation("first")
        server.removed("first")
        try:
            yield server, installation
        finally:
            remove_everything(installation)


def events(server: DockerFleetlog, kind: str) -> list[dict[str, Any]]:
    """All events of this type, in the log's order, but those of the session that was first."""
    found = server.ok("GET", "/api/events", params={"type": kind, "limit": 500})["events"]
    return [event for event in found if event["stream"] != "session:first"]


def test_many_sessions_at_once(fleet: tuple[DockerFleetlog, str]) -> None:
    server, installation = fleet
    sessions = samples().size(whole=60, sample=20)
    names = [f"s{number:02}" for number in range(sessions)]
    server.client.timeout = 650

    def activate(name: str) -> str:
        body = {"appId": "app", "userLoginName": "ada"}
        answer = server.client.post(f"/api/session-workers/{name}/activate", json=body, params={"waitMs": WAIT_MS})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["worker"]["state"])

    with ThreadPoolExecutor(sessions) as callers:
        assert set(callers.map(activate, names)) == {"running"}

    assert len(containers(installation, state="running")) == sessions
    assert events(server, "session.activation_failed") == []
    check_order(server)

    # Something in each workspace, then down through both gates.
    with ThreadPoolExecutor(4) as callers:
        outcomes = list(callers.map(lambda name: server.output_of(f"echo {name} > file; cat file", name), names))
    assert outcomes == [f"{name}\n" for name in names]
    stopped = cleaned(server, "idle", {"idleTimeoutMs": 0, "limit": 100}, "stopped", sessions)
    assert stopped == sessions
    assert cleaned(server, "stopped", {"removeAfterMs": 0, "limit": 100}, "deleted", sessions) == sessions
    assert containers(installation) == []
    synced = {
        event["stream"] for event in events(server, "session.synced") if event["payload"]["reason"] == "pre.remove"
    }
    assert len(synced) == sessions


def check_order(server: DockerFleetlog) -> None:
    """Whoever asked first got a worker slot first: at no time had a session begun while one that had asked eight turns
    before it had not, and at no time were more than eight on their way."""
    requested = [event["stream"] for event in events(server, "session.activation_requested")]
    created = events(server, "session.container_created")
    activated = {event["stream"]: event["position"] for event in events(server, "session.activated")}
    turn = {stream: number for number, stream in enumerate(requested)}
    for number, event in enumerate(created):
        assert abs(turn[event["stream"]] - number) < STARTING, f"{event['stream']} was created as number {number}"
        before = created[: number + 1]
        under_way = [each for each in before if activated[each["stream"]] > event["position"]]
        assert len(under_way) <= STARTING


def cleaned(server: DockerFleetlog, what: str, body: dict[str, int], state: str, wanted: int) -> int:
    """How many workers are in `state` after cleanups that are repeated, a few times at most, until so many are."""
    for _ in range(5):
        counts = server.ok("POST", f"/api/session-workers/cleanup/{what}", json=body, params={"waitMs": WAIT_MS})
        assert counts["failed"] == 0, server.log_tail()
        items = server.ok("GET", "/api/session-workers", params={"limit": 100})["items"]
        there = [item for item in items if item["state"] == state and item["sessionId"] != "first"]
        if len(there) == wanted:
            break
    return len(there)

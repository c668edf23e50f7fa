"""Real containers: a stop, a removal, a message, a crash or a hand from outside, at a moment of another one that chance
picks. The gate holds, the state is true, the error is on record, and the next message succeeds.

The seed of the samples repeats the choices of a run; their timing is the machine's.
"""

import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.support.docker_containers import LABEL, docker, remove_everything
from tests.support.docker_fleetlog import DockerFleetlog
from tests.support.samples import samples
from tests.support.session_history import checked_history, removed

SESSIONS = ("one", "two", "three", "four")
QUICK = {"RUN_QUEUE_RETRY_DELAY_MS": "500", "RUN_QUEUE_LOCK_MS": "5000", "EXECUTOR_MAX_RETRIES": "1"}

KILLED, BY_HAND, CRASH = "its container is KILLED", "its container is REMOVED BY HAND", "CRASH"
SECOND = ("a message", "an idle stop", "a user close", "a removal", KILLED, BY_HAND, CRASH)
GOING_DOWN = ("session.stop_requested", "session.synced", "session.stopping", "session.stopped")
COMING_BACK = ("session.activation_requested", "session.container_started", "session.activated", "session.run_attached")
FIRST: dict[str, dict[str, tuple[str, ...]]] = {
    "running": {
        "a message": ("session.run_attached", "session.sync_requested", "session.run_detached"),
        "an idle stop": GOING_DOWN,
        "a user close": GOING_DOWN,
    },
    "stopped": {
        "a message": COMING_BACK,
        "a removal": (
            "session.remove_requested",
            "session.container_started",
            "session.removing",
            "session.removed",
        ),
    },
    "deleted": {"a message": ("session.container_created", "session.workspace_restored", *COMING_BACK)},
}
"""What a session in this state can be asked, and the events after which the second thing happens to it."""
AFTER_A_HIT = {
    "session.container_started",
    "session.container_lost",
    "session.activation_failed",
    "session.sync_failed",
    "session.stopped",
    "session.removed",
}


@pytest.fixture
def server(worker_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerFleetlog]:
    home = tmp_path_factory.mktemp("interleavings") / "home"
    server = DockerFleetlog(home, WORKER_RUNTIME="docker", WORKER_IMAGE=worker_image, **QUICK)
    server.stop_workers = False
    with server:
        server.activate(SESSIONS[0])
        installation = server.installation(SESSIONS[0])
        try:
            yield server
        finally:
            remove_everything(installation)


@dataclass
class Plan:
    """Of one session in one round."""

    state: str
    first: str
    moment: str
    pause_s: float
    second: str

    @classmethod
    def by(cls, chance: random.Random) -> "Plan":
        state = chance.choice(list(FIRST))
        first = chance.choice(list(FIRST[state]))
        moment = chance.choice(FIRST[state][first])
        return cls(state, first, moment, chance.choice((0, 0.02, 0.2)), chance.choice(SECOND))


@dataclass
class Life:
    """One session: what was sent to it, and what a hand from outside did to its container."""

    server: DockerFleetlog
    name: str
    ours: str
    down: threading.Lock
    messages: dict[str, int] = field(default_factory=dict)
    began: int = 0
    hit: str = ""

    def go(self, plan: Plan) -> None:
        self.hit = ""
        self.act(plan.first)
        self.wait_for(plan.moment)
        threading.Event().wait(plan.pause_s)  # no event tells of the moments between two
        self.act(plan.second)

    def wait_for(self, moment: str) -> None:
        while True:
            try:
                self.server.until_session(self.name, moment, self.began)
                return
            except httpx.TransportError:
                with self.down:  # it comes back
                    pass

    def act(self, action: str) -> None:
        match action:
            case "a message":
                number = len(self.messages) + 1
                self.messages[f"{self.name}-{number}"] = number
                self.send(f"{self.name}-{number}")
            case "a user close":
                self.ask(f"/api/session-workers/{self.name}/stop")
            case "an idle stop":
                self.ask("/api/session-workers/cleanup/idle", {"idleTimeoutMs": 0})
            case "a removal":
                self.ask("/api/session-workers/cleanup/stopped", {"removeAfterMs": 0})
            case "CRASH":
                with self.down:
                    self.server.kill()
                    self.server.start()
            case _:
                self.lay_hand_on(["kill"] if action == KILLED else ["rm", "-f"])

    def ask(self, path: str, body: Any = None) -> None:
        """It may be refused, or never arrive; it must not break anything."""
        try:
            answer = self.server.client.post(path, json=body, params={"waitMs": 0})
        except httpx.TransportError:
            return
        assert answer.status_code < 500, answer.text

    def send(self, run_id: str) -> None:
        """Sent again after a crash it is the same message."""
        number = self.messages[run_id]
        script = f"echo {number} >> log; sleep 0.{number % 4}"
        try:
            self.server.enqueued(script, runId=run_id, sessionId=self.name)
        except httpx.TransportError:
            with self.down:
                pass
            self.server.enqueued(script, runId=run_id, sessionId=self.name)

    def containers(self) -> list[str]:
        label = f"label=fleetlog.session={self.name}"
        return docker("ps", "-aq", "--no-trunc", *("--filter", label), *("--filter", self.ours)).split()

    def lay_hand_on(self, command: list[str]) -> None:
        for container in self.containers():
            done = subprocess.run(["docker", *command, container], capture_output=True, timeout=60, check=False)
            self.hit += command[0] if done.returncode == 0 else ""

    def settle(self) -> None:
        """The next message succeeds; whatever was sent before has ended before it, and is on record."""
        answer = self.server.finished("touch log; cat log", sessionId=self.name)
        last = answer["snapshot"]
        assert last["state"] == "succeeded", last
        kept = [int(line) for line in last["text"].split()]
        assert len(kept) == len(set(kept)), f"a message was executed twice: {kept}"
        for run_id, number in self.messages.items():
            run = self.server.ok("GET", f"/api/runs/{run_id}")
            if run["state"] == "succeeded" and not run["exported"]:
                assert "rm" in self.hit, run  # its container was gone before the final sync
                assert [warning["code"] for warning in run["warnings"]] == ["not_exported"], run
            elif run["state"] == "succeeded":
                assert number in kept, f"message {number} has reached the object store and is not in {kept}"
            else:
                assert run["state"] == "failed", run
                assert run["error"]["message"], run
        assert sorted(kept) == kept, f"messages were executed out of order: {kept}"
        self.check()

    def check(self) -> None:
        worker = self.server.ok("GET", f"/api/session-workers/{self.name}")
        assert (worker["state"], self.containers()) == ("running", [worker["containerId"]])
        facts = '{{.State.Status}} {{index .Config.Labels "fleetlog.generation"}}'
        assert docker("inspect", "-f", facts, worker["containerId"]) == f"running {worker['generation']}"
        since = [event["type"] for event in checked_history(self.server, self.name) if event["position"] > self.began]
        assert not self.hit or AFTER_A_HIT & {*since}, f"{self.hit} has left no trace: {since}"
        self.began = worker["position"]


def prepare(server: DockerFleetlog, plans: dict[str, Plan]) -> None:
    """Bring each session into the state that its plan begins with; all run now."""
    for state in ("deleted", "stopped"):
        for name in (name for name, plan in plans.items() if plan.state == state):
            server.ok("POST", f"/api/session-workers/{name}/stop")
        if state == "deleted":
            assert removed(server)["failed"] == 0, server.log_tail()
    shown = server.ok("GET", "/api/session-workers", params={"limit": 100})["items"]
    assert {item["sessionId"]: item["state"] for item in shown} == {name: plan.state for name, plan in plans.items()}


def with_one_crash(plans: dict[str, Plan], chance: random.Random) -> None:
    """The server dies for all: once in a round is enough."""
    crashing = [plan for plan in plans.values() if plan.second == CRASH]
    for plan in crashing[1:]:
        plan.second = chance.choice(SECOND[:-1])


@pytest.mark.proof
@pytest.mark.timeout(900)
def test_whatever_comes_at_whatever_moment_nothing_is_lost_and_the_next_message_succeeds(
    server: DockerFleetlog,
) -> None:
    chance, down = samples().chance("interleavings in Docker"), threading.Lock()
    ours = f"label={LABEL}={server.installation(SESSIONS[0])}"
    lives = [Life(server, name, ours, down) for name in SESSIONS]
    with ThreadPoolExecutor(len(lives)) as together:
        list(together.map(Life.settle, lives))
        for number in range(samples().size(whole=6, sample=2)):
            plans = {life.name: Plan.by(chance) for life in lives}
            with_one_crash(plans, chance)
            for name, plan in plans.items():
                sys.stdout.write(f"round {number}, {name}: {plan}\n")
            prepare(server, plans)
            began = server.ok("GET", "/api/session-workers", params={"limit": 1})["asOfPosition"]
            for life in lives:
                life.began = began
            list(together.map(Life.go, lives, plans.values()))
            list(together.map(Life.settle, lives))

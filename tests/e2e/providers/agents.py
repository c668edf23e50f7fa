"""A Fleetlog server whose agents are real CLIs with a scripted model, and what the proofs ask of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from infrastructure.runtimes.polling import wait_until
from tests.e2e.providers.agent_environments import AgentEnvironment, OnThisMachine
from tests.e2e.providers.dialects import DIALECTS, Dialect
from tests.support.fleetlog_server import FleetlogServer, new_id
from tests.support.model_server import ModelServer, Reply

WAIT_S = 180.0
LONG_WAIT = {"waitMs": 200_000}
"""A CLI takes its time where many of them share two cores."""


@dataclass
class Agents:
    """One provider on one server, whose agents work in one kind of environment."""

    server: FleetlogServer
    models: ModelServer
    dialect: Dialect
    environment: AgentEnvironment = field(default_factory=OnThisMachine)

    def body(self, model: str, prompt: str = "go", **body: Any) -> dict[str, Any]:
        return {
            "runId": new_id("run"),
            "appId": "app",
            "userLoginName": "ada",
            "provider": self.dialect.name,
            "model": model,
            "messages": [{"role": "user", "content": prompt}],
            "executionProfile": self.dialect.free_profile,
        } | body

    def finished(self, *replies: Reply, **body: Any) -> "FinishedRun":
        """A run from its start to its end; the model answers with `replies`."""
        model = self.models.script(*replies)
        answer = self.server.ok("POST", "/api/runs/start", params=LONG_WAIT, json=self.body(model, **body))
        return FinishedRun(run_id=answer["runId"], model=model, events=answer["events"], snapshot=answer["snapshot"])

    def started(self, *replies: Reply, **body: Any) -> "StartedRun":
        """A run that is queued; it goes on by itself."""
        model = self.models.script(*replies)
        answer = self.server.ok("POST", "/api/runs/queue/enqueue", json=self.body(model, **body))
        return StartedRun(agents=self, run_id=answer["runId"], model=model)

    def read(self, session_id: str, name: str) -> str | None:
        """A file of the workspace; None when there is none."""
        return self.environment.read(self.server, session_id, name)

    def until_written(self, session_id: str, name: str) -> None:
        """As soon as an agent's tool has made this file of the workspace: nothing else tells what a tool is at."""
        made = wait_until(lambda: self.read(session_id, name) is not None, WAIT_S)
        assert made, f"no {name} within {WAIT_S:.0f} s"

    def session_with_worker(self) -> tuple[str, str]:
        """A new session's id, and the folder that its agents work in."""
        session_id = new_id("session")
        self.server.activate(session_id)
        return session_id, self.environment.folder(self.server, session_id)


@dataclass
class FinishedRun:
    run_id: str
    model: str
    events: list[dict[str, Any]]
    snapshot: dict[str, Any]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The payloads of all events of a type."""
        return [event["payload"] for event in self.events if event["type"] == kind]

    def sequence(self, *kinds: str) -> list[str]:
        """The types of the events of these kinds, in order."""
        return [event["type"] for event in self.events if event["type"] in kinds]

    @property
    def text(self) -> str:
        return "".join(payload["text"] for payload in self.of("message.delta"))

    @property
    def outcome(self) -> tuple[str, str]:
        """The state, and the class of the error."""
        return self.snapshot["state"], (self.snapshot.get("error") or {}).get("errorClass", "")


@dataclass
class StartedRun:
    agents: Agents
    run_id: str
    model: str

    def until(self, event: str) -> dict[str, Any]:
        """The data of the first event of this type."""
        return dict(self.agents.server.until(self.run_id, event)[-1]["data"])

    def reply(self, question_id: str, answer: Any) -> dict[str, Any]:
        body = {"runId": self.run_id, "questionId": question_id, "answer": answer}
        return dict(self.agents.server.ok("POST", "/api/human-loop/reply", json=body))

    def cancel(self) -> None:
        self.agents.server.ok("POST", f"/api/runs/{self.run_id}/stop")

    def end(self) -> FinishedRun:
        """As soon as it has ended."""
        frames = self.agents.server.history(self.run_id)
        events = [{"type": frame["event"], "payload": frame["data"]} for frame in frames]
        last = {"minPosition": frames[-1]["data"]["position"]}
        snapshot = self.agents.server.ok("GET", f"/api/runs/{self.run_id}", params=last)
        return FinishedRun(run_id=self.run_id, model=self.model, events=events, snapshot=snapshot)


def settings_of_all(model_url: str) -> Mapping[str, str]:
    """What leads every CLI to the model server."""
    found: dict[str, str] = {}
    for dialect in DIALECTS:
        found |= dialect.variables(model_url)
    return found | {"RUN_QUEUE_RETRY_DELAY_MS": "100"}

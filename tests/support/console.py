"""The console's parts as a person finds them, and scripts whose runs have something to show."""

import json
import shlex
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.support.fleetlog_server import FleetlogServer, new_id


def console(server: FleetlogServer, route: str = "") -> str:
    """The page's address at a route such as `#/runs/r1`."""
    return f"http://127.0.0.1:{server.port}/console{route}"


def timeline(page: Page) -> Locator:
    return page.get_by_role("list", name="Timeline")


def row(page: Page, name: str) -> Locator:
    """An entry of the list at the side."""
    return page.get_by_role("navigation", name="Runs and sessions").get_by_role("link").filter(has_text=name)


def shown_state(page: Page, seq: int) -> Any:
    """The state that the page shows as that after the event `seq`."""
    expect(page.locator(f'.inspector[data-seq="{seq}"]:not([aria-busy])')).to_be_attached()
    return json.loads(page.locator("[data-json=state]").text_content() or "")


def say(**event: Any) -> str:
    """The line of a script that tells Fleetlog of an event."""
    return "echo " + shlex.quote("::fleetlog " + json.dumps(event))


def ask(question_id: str, prompt: str, *options: str) -> str:
    return say(type="question", questionId=question_id, prompt=prompt, options=[{"label": each} for each in options])


def todo(key: str, content: str, status: str, order: int = 0) -> dict[str, Any]:
    return {"todoId": key, "content": content, "status": status, "order": order}


WORK = (
    say(type="todo.snapshot", todos=[todo("t1", "Look around", "doing"), todo("t2", "Mend it", "todo", 1)]),
    "echo first words",
    say(type="tool.start", toolId="a", name="Grep", input={"pattern": "needle"}),
    say(type="tool.end", toolId="a", output="hay.txt:3: needle", durationMs=1200),
    say(type="todo.update", todo=todo("t1", "Look around", "done")),
    say(type="tool.start", toolId="b", name="Bash", input={"command": "make test"}),
    say(type="tool.end", toolId="b", ok=False, output="1 failed"),
    say(type="usage", inputTokens=1200, outputTokens=34, costUsd=0.5),
)
"""Todos, text, a tool that succeeds and one that fails."""


def start(server: FleetlogServer, session: str, *script: str, prompt: str = "Do it.", **body: Any) -> str:
    """The id of a queued run of these lines of shell."""
    options = {"interactive": True, "script": "\n".join(script)}
    return server.enqueued(prompt, sessionId=session, providerOptions=options, runId=new_id("run"), **body)


def settled(server: FleetlogServer, run_id: str) -> Any:
    """The run as the API tells it once its read model has all that its stream has."""
    end = server.history(run_id)[-1]["data"]
    return server.ok("GET", f"/api/runs/{run_id}", params={"minPosition": end["position"]})


def questions(server: FleetlogServer, run_id: str) -> Any:
    return server.ok("GET", "/api/human-loop/requests", params={"runId": run_id})["requests"]


def seq_of(server: FleetlogServer, run_id: str, kind: str) -> int:
    """The seq of the run's first event of this type."""
    return next(int(frame["id"]) for frame in server.history(run_id) if frame["event"] == kind)

"""The runs of the screenshot, with the scripts of their agents."""

import json
import shlex
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.support.fleetlog_server import FleetlogServer


def print_event(**event: Any) -> str:
    return "echo " + shlex.quote("::fleetlog " + json.dumps(event))


def print_text(text: str) -> str:
    return "printf '%s\\n' " + shlex.quote(text)


def todos(*entries: tuple[str, str]) -> list[dict[str, Any]]:
    return [
        {"todoId": f"t{n}", "content": text, "status": status, "order": n} for n, (text, status) in enumerate(entries)
    ]


def used(
    name: str, tool_id: str, seconds: float, duration_ms: int, output: str, *, ok: bool = True, **arguments: Any
) -> tuple[str, str, str]:
    return (
        print_event(type="tool.start", toolId=tool_id, name=name, input=arguments),
        f"sleep {seconds}",
        print_event(type="tool.end", toolId=tool_id, output=output, ok=ok, durationMs=duration_ms),
    )


CHECKOUT = (
    print_event(
        type="reasoning.delta", text="The payment client retries on every error. Which errors are safe to retry?"
    ),
    print_event(
        type="todo.snapshot",
        todos=todos(
            ("Find where payments are retried", "doing"),
            ("Retry only what is safe to retry", "todo"),
            ("Cover it with tests", "todo"),
            ("Update the changelog", "todo"),
        ),
    ),
    *used("Grep", "a", 0.3, 212, "payments/client.py:41: for attempt in range(5):", pattern="retry|attempt"),
    *used("Read", "b", 0.2, 34, "…", file_path="payments/client.py"),
    print_text("Found it: payments/client.py retries after every exception, also after a charge that went through."),
    print_event(
        type="todo.snapshot",
        todos=todos(
            ("Find where payments are retried", "done"),
            ("Retry only what is safe to retry", "doing"),
            ("Cover it with tests", "todo"),
            ("Update the changelog", "todo"),
        ),
    ),
    print_event(type="message.stop"),
    *used("Edit", "c", 0.4, 58, "ok", file_path="payments/client.py"),
    *used("Bash", "d", 1.2, 1843, "1 failed, 14 passed\ncharged twice", ok=False, command="pytest -q tests/payments"),
    print_event(
        type="question",
        questionId="q1",
        prompt="The bank has no idempotency keys. How should the retries of a charge be told apart?",
        options=[
            {"label": "By the order's id", "description": "one charge per order"},
            {"label": "By a key per attempt", "description": "kept with the order"},
        ],
    ),
    "read -r answer",
)
DEPENDENCIES = (
    print_text("All dependencies are current."),
    print_event(type="usage", inputTokens=9120, outputTokens=410, costUsd=0.031),
)
INDEX = (
    *used("Bash", "a", 0.2, 190, "ok", command="make schema"),
    print_event(type="tool.start", toolId="b", name="Bash", input={"command": "make index"}),
    "exec sleep 600",
)
PAGINATION = (
    print_text("Added cursors."),
    print_event(type="usage", inputTokens=31870, outputTokens=2204, costUsd=0.142),
)
NOTES = (print_event(type="tool.start", toolId="a", name="Write", input={"file_path": "NOTES.md"}), "exec sleep 600")
CHARGED_TWICE = (
    "Customers are sometimes charged twice when the bank is slow. Find out why, mend it, and cover it with tests."
)
RUNS = (  # run, session, user, prompt, script, the event to wait for
    ("nightly-deps", "shop-44", "lin", "Update the dependencies.", DEPENDENCIES, "run.finished"),
    ("flaky-login", "shop-45", "joan", "Find the flaky test.", (print_text("Trying …"), "exit 3"), "run.finished"),
    ("search-index", "shop-43", "grace", "Rebuild the search index.", INDEX, "tool.start"),
    ("checkout-retries", "shop-42", "ada", CHARGED_TWICE, CHECKOUT, "human_loop.requested"),
    ("api-pagination", "api-7", "barbara", "Add cursors to the list of orders.", PAGINATION, "run.finished"),
    ("release-notes", "shop-46", "lin", "Write the release notes.", NOTES, "tool.start"),
)


def fill(server: FleetlogServer) -> None:
    """Start all runs, and wait for each until the event that the screenshot shows."""
    for run_id, session_id, user, prompt, script, until in RUNS:
        whose = {"sessionId": session_id, "appId": "shop", "projectName": "web", "userLoginName": user}
        options = {"interactive": True, "script": "\n".join(script)}
        server.enqueued(prompt, runId=run_id, providerOptions=options, **whose)
        server.until(run_id, until)

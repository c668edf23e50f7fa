"""The fleet of the screenshot: what its agents do, as scripts, and the runs of them."""

import json
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def say(**event):
    return "echo " + shlex.quote("::fleetlog " + json.dumps(event))


def tell(text):
    return "printf '%s\\n' " + shlex.quote(text)


def todos(*entries):
    return [
        {"todoId": f"t{n}", "content": text, "status": status, "order": n} for n, (text, status) in enumerate(entries)
    ]


def used(name, tool_id, seconds, duration_ms, output, ok=True, **arguments):
    return (
        say(type="tool.start", toolId=tool_id, name=name, input=arguments),
        f"sleep {seconds}",
        say(type="tool.end", toolId=tool_id, output=output, ok=ok, durationMs=duration_ms),
    )


CHECKOUT = (
    say(type="reasoning.delta", text="The payment client retries on every error. Which errors are safe to retry?"),
    say(
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
    tell("Found it: payments/client.py retries after every exception, also after a charge that went through."),
    say(
        type="todo.snapshot",
        todos=todos(
            ("Find where payments are retried", "done"),
            ("Retry only what is safe to retry", "doing"),
            ("Cover it with tests", "todo"),
            ("Update the changelog", "todo"),
        ),
    ),
    say(type="message.stop"),
    *used("Edit", "c", 0.4, 58, "ok", file_path="payments/client.py"),
    *used("Bash", "d", 1.2, 1843, "1 failed, 14 passed\ncharged twice", ok=False, command="pytest -q tests/payments"),
    say(
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
    tell("All dependencies are current."),
    say(type="usage", inputTokens=9120, outputTokens=410, costUsd=0.031),
)
INDEX = (
    *used("Bash", "a", 0.2, 190, "ok", command="make schema"),
    say(type="tool.start", toolId="b", name="Bash", input={"command": "make index"}),
    "exec sleep 600",
)
PAGINATION = (tell("Added cursors."), say(type="usage", inputTokens=31870, outputTokens=2204, costUsd=0.142))
NOTES = (say(type="tool.start", toolId="a", name="Write", input={"file_path": "NOTES.md"}), "exec sleep 600")
CHARGED_TWICE = (
    "Customers are sometimes charged twice when the bank is slow. Find out why, mend it, and cover it with tests."
)
RUNS = (  # run, session, user, prompt, script, the event to wait for
    ("nightly-deps", "shop-44", "lin", "Update the dependencies.", DEPENDENCIES, "run.finished"),
    ("flaky-login", "shop-45", "joan", "Find the flaky test.", (tell("Trying …"), "exit 3"), "run.finished"),
    ("search-index", "shop-43", "grace", "Rebuild the search index.", INDEX, "tool.start"),
    ("checkout-retries", "shop-42", "ada", CHARGED_TWICE, CHECKOUT, "human_loop.requested"),
    ("api-pagination", "api-7", "barbara", "Add cursors to the list of orders.", PAGINATION, "run.finished"),
    ("release-notes", "shop-46", "lin", "Write the release notes.", NOTES, "tool.start"),
)


def fill(server):
    """Start them all, each as far as it is to be seen."""
    for run_id, session_id, user, prompt, script, until in RUNS:
        whose = {"sessionId": session_id, "appId": "shop", "projectName": "web", "userLoginName": user}
        options = {"interactive": True, "script": "\n".join(script)}
        server.enqueued(prompt, runId=run_id, providerOptions=options, **whose)
        server.until(run_id, until)

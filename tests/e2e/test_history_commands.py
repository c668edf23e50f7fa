"""The log and its past on the command line, against a running server."""

import json

import pytest

from tests.support.fleetlog_server import FleetlogServer, new_id

pytestmark = pytest.mark.proof


def test_a_finished_run_is_seen_from_every_side(shared_fleetlog: FleetlogServer) -> None:
    server, run_id = shared_fleetlog, new_id("run")
    events = server.finished("echo needle", runId=run_id)["events"]
    last = events[-1]["seq"]

    history = json.loads(server.command("history", run_id, "--json"))["events"]
    assert [event["type"] for event in history] == [event["type"] for event in events]
    assert "run.finished" in server.command("history", run_id)

    assert json.loads(server.command("show", run_id, "--at", "1", "--json"))["state"] == "queued"
    assert "succeeded" in server.command("show", run_id)
    at_position = ["--at-position", str(events[0]["position"])]
    assert json.loads(server.command("show", run_id, *at_position, "--json"))["state"] == "queued"
    at_time = ["--at-time", events[0]["recordedAt"]]
    assert json.loads(server.command("show", run_id, *at_time, "--json"))["seq"] >= 1

    found = json.loads(server.command("bisect", run_id, 'state == "succeeded"', "--json"))
    assert found["first"]["seq"] == last
    assert "run.finished" in server.command("bisect", run_id, 'state == "succeeded"', "--monotone")

    changed = json.loads(server.command("diff", run_id, "1", str(last), "--json"))["changes"]
    assert "/state" in {change["path"] for change in changed}
    assert "/state" in server.command("diff", run_id, "1", str(last))

    session = f"run-{run_id}"
    of_session = json.loads(server.command("history", "--session", session, "--json"))["events"]
    assert "session.activated" in {event["type"] for event in of_session}
    assert json.loads(server.command("show", "--session", session, "--at", "1", "--json"))["sessionId"] == session
    changed = json.loads(server.command("diff", "--session", session, "1", "5", "--json"))["changes"]
    assert "/containerId" in {change["path"] for change in changed}
    found = json.loads(server.command("bisect", "--session", session, "containerId != null", "--json"))
    assert found["first"]["type"] == "session.container_created"

    position = str(events[-1]["position"])
    assert json.loads(server.command("why", position, "--json"))["tree"]["kind"] == "command"
    assert "run.finished" in server.command("why", position)

    listed = json.loads(server.command("events", "--stream", f"run:{run_id}", "--type", "run.finished", "--json"))
    assert [event["position"] for event in listed["events"]] == [events[-1]["position"]]


def test_runs_sessions_and_questions_are_listed_now_and_as_they_were(shared_fleetlog: FleetlogServer) -> None:
    server, run_id = shared_fleetlog, new_id("run")
    script = """echo '::fleetlog {"type": "todo.update", "todo": {"todoId": "t", "content": "one thing"}}'
    echo '::fleetlog {"type": "question", "questionId": "q", "prompt": "go on?"}'; read -r answer"""
    server.enqueued(script, runId=run_id, providerOptions={"interactive": True})
    asked = server.until(run_id, "human_loop.requested")[-1]["data"]["position"]
    server.ok("GET", "/api/human-loop/pending", params={"minPosition": asked})
    assert "go on?" in server.command("list", "questions", "--state", "open")
    server.ok("POST", "/api/human-loop/reply", json={"runId": run_id, "questionId": "q", "answer": "yes"})
    ended = server.history(run_id)[-1]["data"]["position"]
    server.ok("GET", "/api/runs", params={"minPosition": ended})

    def state_of(run: str, *moment: str) -> str:
        items = json.loads(server.command("list", "runs", *moment, "--json"))["items"]
        return next(str(item["state"]) for item in items if item["runId"] == run)

    assert state_of(run_id) == "succeeded"
    assert state_of(run_id, "--at-position", str(asked)) == "waiting_human"
    assert f"run-{run_id}" in server.command("list", "sessions", "--state", "running")
    then = server.command("show", run_id, "--at-position", str(asked))
    assert "one thing" in then
    assert "go on? open" in then
    assert "go on? resolved → yes" in server.command("show", run_id)


def test_a_log_is_verified_and_attested(shared_fleetlog: FleetlogServer) -> None:
    assert json.loads(shared_fleetlog.command("verify", "--chain-only", "--json"))["ok"]
    assert json.loads(shared_fleetlog.command("checkpoint"))["signature"]
    assert shared_fleetlog.command("export").splitlines()

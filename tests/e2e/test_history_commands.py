"""The log and its past on the command line, against a running server."""

import json

from tests.support.fleetlog_server import FleetlogServer, new_id


def test_a_finished_run_is_seen_from_every_side(shared_fleetlog: FleetlogServer) -> None:
    server, run_id = shared_fleetlog, new_id("run")
    events = server.finished("echo needle", runId=run_id)["events"]
    last = events[-1]["seq"]

    history = json.loads(server.command("history", run_id, "--json"))["events"]
    assert [event["type"] for event in history] == [event["type"] for event in events]
    assert "run.finished" in server.command("history", run_id)

    assert json.loads(server.command("show", run_id, "--at", "1", "--json"))["state"] == "queued"
    assert "succeeded" in server.command("show", run_id)

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


def test_a_log_is_verified_and_attested(shared_fleetlog: FleetlogServer) -> None:
    assert json.loads(shared_fleetlog.command("verify", "--chain-only", "--json"))["ok"]
    assert json.loads(shared_fleetlog.command("checkpoint"))["signature"]
    assert shared_fleetlog.command("export").splitlines()

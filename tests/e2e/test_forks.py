"""A fork of a finished run: its files are those of the sync at that point, by hash, and the origin is untouched."""

import json
from typing import Any

import pytest

from tests.support.fleetlog_server import FleetlogServer, new_id
from tests.support.session_history import output, payloads

pytestmark = pytest.mark.proof


# Each message.stop asks for a sync; the script goes on only when that one is there, as the test tells it.
STEPS = """
mkdir -p src empty
echo one > src/a.txt; echo '#!/bin/sh' > tool; chmod 755 tool; ln -s src/a.txt link
echo '::fleetlog {"type": "message.stop"}'
echo '::fleetlog {"type": "question", "questionId": "first", "prompt": "on?"}'; read go
echo two > src/a.txt; echo only > src/b.txt; rm tool
echo '::fleetlog {"type": "message.stop"}'
echo '::fleetlog {"type": "question", "questionId": "second", "prompt": "on?"}'; read go
rm -r src; echo three > c.txt
echo said at the end
"""


def tree(server: FleetlogServer, session_id: str, position: int | None = None) -> dict[str, Any]:
    """Every path of a recorded workspace but the agents' own, with its content's hash, mode and target."""
    query = {} if position is None else {"syncPosition": position}
    listing = server.ok("GET", f"/api/session-workers/{session_id}/workspace", params=query)
    return {
        entry["path"]: (entry["kind"], entry["sha256"], entry["mode"], entry["target"])
        for entry in listing["entries"]
        if ".agent_data" not in entry["path"]
    }


def untouched(server: FleetlogServer, run_id: str, session_id: str) -> dict[str, Any]:
    """All that a fork must leave as it is: the origin's events, its objects, its state."""
    prefix = server.ok("GET", f"/api/session-workers/{session_id}")["workspacePrefix"]
    (bucket,) = [path for path in server.home.rglob("app") if path.is_dir() and (path / "app").is_dir()]
    folder = bucket.parent / prefix
    return {
        "run": server.ok("GET", f"/api/streams/run:{run_id}/events", params={"limit": 500})["events"],
        "session": server.stream(session_id),
        "objects": {
            str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
            for path in folder.rglob("*")
            if path.is_file()
        },
        "worker": {**server.ok("GET", f"/api/session-workers/{session_id}"), "asOfPosition": 0},
        "snapshot": {**server.ok("GET", f"/api/runs/{run_id}"), "asOfPosition": 0},
    }


def finished_run(server: FleetlogServer) -> tuple[str, str, list[dict[str, Any]]]:
    """A run with a sync after each of its steps, its worker stopped; its id, its session's, and the points to fork at,
    each with the position of the sync before it."""
    session_id = new_id("session")
    run_id = server.enqueued(STEPS, sessionId=session_id, providerOptions={"interactive": True})
    after, points = 0, []
    for question in ("first", "second"):
        _seq_of(server, run_id, "human_loop.requested", question)
        after = server.until_session(session_id, "session.synced", after)["position"]
        server.ok("POST", "/api/human-loop/reply", json={"runId": run_id, "questionId": question, "answer": "go"})
        points.append({"seq": _seq_of(server, run_id, "human_loop.resolved", question), "sync": after})
    end = server.history(run_id)[-1]
    server.ok("POST", f"/api/session-workers/{session_id}/stop")  # a sync of the last message may come after the end
    return run_id, session_id, [*points, {"seq": int(end["id"]), "sync": _final_sync(server, session_id, end)}]


def _final_sync(server: FleetlogServer, session_id: str, end: dict[str, Any]) -> int:
    """The position of the run's last sync. If it answered two requests, two events tell of it: that of the request
    which came last is meant."""
    told = [event for event in server.stream(session_id) if event["position"] < end["data"]["position"]]
    requested = {
        event["payload"]["syncId"]: event["position"] for event in told if event["type"] == "session.sync_requested"
    }
    synced = [event for event in told if event["type"] == "session.synced"]
    of_last = [event for event in synced if event["payload"]["sync"] == synced[-1]["payload"]["sync"]]
    return int(max(of_last, key=lambda event: requested[event["payload"]["syncId"]])["position"])


def _seq_of(server: FleetlogServer, run_id: str, event: str, question: str) -> int:
    for frame in server.frames(run_id):
        if frame["event"] == event and frame["data"]["questionId"] == question:
            return int(frame["id"])
    raise AssertionError(f"there is no {event} of {question}")


def test_at_three_points_the_files_are_those_of_the_sync_there(shared_fleetlog: FleetlogServer) -> None:
    server = shared_fleetlog
    run_id, session_id, points = finished_run(server)
    before = untouched(server, run_id, session_id)
    trees = [tree(server, session_id, point["sync"]) for point in points]
    assert [("/workspace/src/b.txt" in each, "/workspace/c.txt" in each) for each in trees] == [
        (False, False),
        (True, False),
        (False, True),
    ]

    for point, expected in zip(points, trees, strict=True):
        fork = new_id("fork")
        made = server.ok("POST", f"/api/runs/{run_id}/fork", json={"atSeq": point["seq"], "sessionId": fork})
        assert (made["origin"]["files"], made["origin"]["syncPosition"]) == ("copied", point["sync"])
        assert tree(server, fork) == expected

        server.activate(fork)
        server.ok("POST", f"/api/session-workers/{fork}/sync")
        assert tree(server, fork) == expected, "what its worker has restored is what its own sync holds"
        first = server.stream(fork)[0]
        assert (first["type"], first["payload"]["origin"]["atSeq"]) == ("session.forked", point["seq"])

    assert untouched(server, run_id, session_id) == before


def test_its_first_run_is_told_what_was_said_and_its_own_life_begins(shared_fleetlog: FleetlogServer) -> None:
    server = shared_fleetlog
    run_id, session_id, points = finished_run(server)
    fork = new_id("fork")
    made = server.ok("POST", f"/api/runs/{run_id}/fork", json={"atSeq": points[1]["seq"], "sessionId": fork})
    before = untouched(server, run_id, session_id)
    assert made["origin"]["warnings"] == []

    first = server.finished('cat src/b.txt; echo "$FLEETLOG_CONVERSATION"; echo mine > own', sessionId=fork)

    assert first["snapshot"]["state"] == "succeeded"
    said = "".join(event["payload"]["text"] for event in first["events"] if event["type"] == "message.delta")
    assert said.startswith("only\n")
    assert "mkdir -p src empty" in said
    assert "[the user answered: go]" in said
    assert "said at the end" in said.split("asked the user")[0], "as a part of the script"
    assert "\nsaid at the end" not in said.rpartition("asked the user")[2], "that came after the point"
    assert "conversation_retold" in {warning["code"] for warning in first["snapshot"]["warnings"]}
    (carried,) = payloads(first["events"], "run.conversation_carried")
    assert (carried["how"], carried["originRunId"], carried["originSeq"]) == ("retold", run_id, points[1]["seq"])
    second = server.finished('echo "told: $FLEETLOG_CONVERSATION"; cat own', sessionId=fork)
    assert payloads(second["events"], "run.conversation_carried") == []
    assert output(server, "ls", fork).split() == ["empty", "link", "own", "src"]
    assert untouched(server, run_id, session_id) == before

    again = new_id("fork")
    end = second["events"][-1]["seq"]
    server.ok("POST", f"/api/runs/{second['runId']}/fork", json={"atSeq": end, "sessionId": again})
    assert output(server, "cat own", again) == "mine\n"


def test_a_failed_first_run_does_not_use_up_the_conversation(shared_fleetlog: FleetlogServer) -> None:
    server = shared_fleetlog
    origin = server.finished("echo remember the zephyr")
    body = {"atSeq": origin["events"][-1]["seq"], "sessionId": (fork := new_id("fork"))}
    server.ok("POST", f"/api/runs/{origin['runId']}/fork", json=body)

    assert server.finished("exit 3", sessionId=fork)["snapshot"]["state"] == "failed"
    assert "remember the zephyr" in output(server, 'echo "$FLEETLOG_CONVERSATION"', fork)


def test_on_the_command_line(shared_fleetlog: FleetlogServer) -> None:
    server = shared_fleetlog
    origin = server.finished("echo x > file")
    run_id, end = origin["runId"], str(origin["events"][-1]["seq"])

    made = json.loads(server.command("fork", run_id, "--at", end, "--session", (fork := new_id("fork")), "--json"))
    assert (made["sessionId"], made["origin"]["files"]) == (fork, "copied")
    assert fork in server.command("fork", run_id, "--at", end, "--session", fork)
    shown = " ".join(server.command("fork", run_id, "--at", "1").split())
    assert "begins without the files" in shown
    history = server.command("history", fork, "--session")
    assert "session.forked" in history
    assert f"from {run_id} at seq {end}" in history
    assert output(server, "cat file", fork) == "x\n"


def test_the_log_tells_what_a_fork_led_to(shared_fleetlog: FleetlogServer) -> None:
    server = shared_fleetlog
    origin = server.finished("echo x > file")
    body = {"atSeq": origin["events"][-1]["seq"], "sessionId": (fork := new_id("fork"))}
    server.ok("POST", f"/api/runs/{origin['runId']}/fork", json=body)

    query = {"type": "session.forked", "stream": f"session:{fork}"}
    (first,) = server.ok("GET", "/api/events", params=query)["events"]
    tree = server.ok("GET", f"/api/events/{first['position']}/why")["tree"]
    (forked,) = tree["children"]
    (copying,) = forked["children"]
    assert (tree["kind"], forked["type"], copying["type"]) == ("command", "session.forked", "workspace.copy")
    assert [child["type"] for child in copying["children"]] == ["session.workspace_copied"]


def test_a_run_that_goes_on_is_forked_where_it_stood(shared_fleetlog: FleetlogServer) -> None:
    server = shared_fleetlog
    session_id, early, late = new_id("session"), new_id("fork"), new_id("fork")
    run_id = server.enqueued(STEPS, sessionId=session_id, providerOptions={"interactive": True})
    server.until_session(session_id, "session.synced")
    server.ok("POST", "/api/human-loop/reply", json={"runId": run_id, "questionId": "first", "answer": "go"})
    answered = _seq_of(server, run_id, "human_loop.resolved", "first")
    asked = _seq_of(server, run_id, "human_loop.requested", "second")

    server.ok("POST", f"/api/runs/{run_id}/fork", json={"atSeq": answered, "sessionId": early})
    made = server.ok("POST", f"/api/runs/{run_id}/fork", json={"atSeq": asked, "sessionId": late})

    assert output(server, "test -x tool && cat src/a.txt", early) == "one\n"
    assert "question_not_carried" in {warning["code"] for warning in made["origin"]["warnings"]}
    server.ok("POST", "/api/human-loop/reply", json={"runId": run_id, "questionId": "second", "answer": "go"})
    assert server.history(run_id)[-1]["data"]["outcome"] == "succeeded"


def test_a_log_with_forks_verifies_and_time_travel_and_search_know_them(shared_fleetlog: FleetlogServer) -> None:
    server = shared_fleetlog
    origin = server.finished("echo zephyr > file")
    body = {"atSeq": origin["events"][-1]["seq"], "sessionId": (fork := new_id("fork"))}
    server.ok("POST", f"/api/runs/{origin['runId']}/fork", json=body)
    run_id = server.finished("cat file", sessionId=fork)["runId"]

    server.ok("GET", f"/api/session-workers/{fork}")
    found = json.loads(server.command("verify", "--json"))
    assert found["ok"]
    assert all(each["equal"] for each in found["projections"])
    first = server.ok("GET", f"/api/session-workers/{fork}", params={"atSeq": 1})
    assert (first["origin"]["files"], first["generation"]) == ("copying", 0)
    told = server.ok("GET", "/api/events", params={"text": "zephyr", "stream": f"run:{run_id}"})["events"]
    assert "run.conversation_carried" in [event["type"] for event in told]

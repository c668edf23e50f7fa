"""Dead letters and the queue's switch, from the API and the command line to what the workers do."""

import json
import time
from typing import Any

import pytest

from domain.identifiers import container_name
from tests.support.fleetlog_server import FleetlogServer

pytestmark = pytest.mark.proof


def test_a_paused_queue_claims_nothing_until_it_is_resumed(own_fleetlog: FleetlogServer) -> None:
    paused = own_fleetlog.ok("POST", "/api/queue/pause", json={"reason": "maintenance"})
    again = own_fleetlog.ok("POST", "/api/queue/pause")
    run_id = own_fleetlog.enqueued("echo hello", sessionId="s")

    assert own_fleetlog.ok("GET", "/api/queue")["paused"]
    assert again["position"] == paused["position"]
    drained = own_fleetlog.ok("POST", "/api/runs/queue/drain", json={}, params={"waitMs": 500})
    assert drained["claimed"] == 0
    assert own_fleetlog.ok("GET", f"/api/runs/{run_id}")["state"] == "queued"

    own_fleetlog.ok("POST", "/api/queue/resume")

    assert own_fleetlog.history(run_id)[-1]["data"]["outcome"] == "succeeded"
    events = own_fleetlog.ok("GET", "/api/streams/queue:runs/events")["events"]
    assert [(event["type"], event["metadata"]["actor"]) for event in events] == [
        ("queue.paused", "anonymous"),
        ("queue.resumed", "anonymous"),
    ]


def wait_for_effects(server: FleetlogServer, state: str, number: int) -> list[dict[str, Any]]:
    """The effects in this state, once there are `number` of them. The ledger tells nobody, so it is asked."""
    deadline = time.monotonic() + 120
    while len(found := server.ok("GET", "/api/effects", params={"state": state})["effects"]) < number:
        assert time.monotonic() < deadline, server.ok("GET", "/api/effects")
        time.sleep(0.1)
    return list(found)


def test_effects_that_were_given_up_are_listed_retried_and_dropped(own_fleetlog: FleetlogServer) -> None:
    for session in ("a", "b"):
        (own_fleetlog.home / "workers" / container_name(session, 1)).write_text("in the way of the worker's folder")
        own_fleetlog.ok(
            "POST",
            f"/api/session-workers/{session}/activate",
            params={"waitMs": 0},
            json={"appId": "app", "userLoginName": "ada"},
        )

    dead = wait_for_effects(own_fleetlog, "dead", 2)
    first = own_fleetlog.ok("GET", f"/api/effects/{dead[0]['id']}")
    retried = own_fleetlog.ok("POST", f"/api/effects/{dead[0]['id']}/retry", json={"reason": "the way is free"})
    dropped = json.loads(own_fleetlog.command("effects", "drop", dead[1]["id"], "--reason", "not wanted", "--json"))

    assert {effect["kind"] for effect in dead} == {"container.create"}
    assert [one["outcome"] for one in first["history"]] == ["failed"] * 4 + ["dead"]
    assert "in the way" in first["lastError"] or first["lastError"]
    (gone,) = wait_for_effects(own_fleetlog, "dropped", 1)
    assert gone["id"] == dead[1]["id"]
    (tried,) = wait_for_effects(own_fleetlog, "obsolete", 1)  # its activation has failed long ago
    assert (tried["id"], tried["attempts"]) == (dead[0]["id"], 6)
    problem = own_fleetlog.problem(409, "POST", f"/api/effects/{dead[0]['id']}/drop", json={})
    assert problem["reason"] == "not_given_up"
    own_fleetlog.problem(404, "POST", "/api/effects/unknown/retry")
    audit = own_fleetlog.ok("GET", "/api/streams/effects:dead_letters/events")["events"]
    assert [event["type"] for event in audit] == ["effect.given_up"] * 2 + ["effect.retry_requested", "effect.dropped"]
    assert [event["position"] for event in audit[2:]] == [retried["position"], dropped["position"]]
    assert audit[3]["metadata"]["actor"].startswith("cli/")


def test_a_reconciler_leaves_its_finding_in_the_log(own_fleetlog: FleetlogServer) -> None:
    question = '::fleetlog {"type":"question","questionId":"q","prompt":"?","timeoutMs":1000}'
    run_id = own_fleetlog.enqueued(f"echo '{question}'; read -r answer", providerOptions={"interactive": True})

    own_fleetlog.history(run_id)

    (finding,) = own_fleetlog.ok("GET", "/api/streams/reconcile:questions/events")["events"]
    assert finding["payload"] == {"what": "questions", "examined": 1, "acted": 1, "subjects": [run_id]}
    assert finding["metadata"]["actor"] == "schedule"

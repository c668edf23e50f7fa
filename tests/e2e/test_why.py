"""Why an event came to be: from the command and its actor down to the event, and on to all that it led to."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.fleetlog_server import FleetlogServer, new_id


@pytest.fixture(scope="module")
def finished(shared_fleetlog: FleetlogServer) -> dict[str, Any]:
    """The events of a finished run by type, and those of its session."""
    run_id = new_id("run")
    shared_fleetlog.client.headers["x-actor"] = "ann"
    try:
        answer = shared_fleetlog.finished("for n in 1 2 3; do echo line $n; sleep 0.2; done", runId=run_id)
    finally:
        del shared_fleetlog.client.headers["x-actor"]
    shared_fleetlog.ok("POST", f"/api/session-workers/run-{run_id}/stop")
    events = {event["type"]: event for event in answer["events"]}
    session = shared_fleetlog.ok("GET", f"/api/streams/session:run-{run_id}/events", params={"limit": 1000})["events"]
    return {"run": events, "session": {event["type"]: event for event in session}, "end": session[-1]["position"]}


def why(server: FleetlogServer, finished: dict[str, Any], event: dict[str, Any]) -> dict[str, Any]:
    answer = server.ok("GET", f"/api/events/{event['position']}/why", params={"minPosition": finished["end"]})
    assert answer["asOfPosition"] >= finished["end"]
    tree: dict[str, Any] = answer["tree"]
    return tree


def path_to_asked(node: dict[str, Any]) -> list[dict[str, Any]]:
    if node["asked"]:
        return [node]
    for child in node["children"]:
        if path := path_to_asked(child):
            return [node, *path]
    return []


def below(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for child in node["children"]:
        yield child
        yield from below(child)


def test_the_causes_of_a_sync_lead_up_to_the_command_that_queued_the_run(
    shared_fleetlog: FleetlogServer, finished: dict[str, Any]
) -> None:
    path = path_to_asked(why(shared_fleetlog, finished, finished["run"]["run.exported"]))

    assert [node["kind"] for node in path] == ["command", "event", "lease", "event"]
    assert path[0]["actor"] == "ann"
    assert [node["type"] for node in path[1:]] == ["run.queued", "lease", "run.exported"]


def test_effects_with_their_attempts_are_links_of_the_chain(
    shared_fleetlog: FleetlogServer, finished: dict[str, Any]
) -> None:
    path = path_to_asked(why(shared_fleetlog, finished, finished["session"]["session.activated"]))

    kinds = [(node["kind"], node["type"]) for node in path]
    assert kinds[0][0] == "command"
    assert ("event", "run.queued") in kinds
    assert ("effect", "workspace.validate") in kinds
    assert kinds[-1] == ("event", "session.activated")
    effects = [node for node in path if node["kind"] == "effect"]
    assert all(node["state"] == "done" and node["attempts"][-1]["outcome"] == "done" for node in effects)


def test_a_queued_run_led_to_everything_that_was_done_for_it(
    shared_fleetlog: FleetlogServer, finished: dict[str, Any]
) -> None:
    tree = why(shared_fleetlog, finished, finished["run"]["run.queued"])
    asked = path_to_asked(tree)[-1]
    led_to = {node["type"] for node in below(asked)}

    assert tree["kind"] == "command"
    assert {"run.claimed", "run.started", "run.finished", "message.delta", "container.create"} <= led_to
    assert {"session.activation_requested", "session.activated", "session.run_detached"} <= led_to
    assert any(node["kind"] == "effect" and node["attempts"] for node in below(asked))


def test_what_a_message_stop_led_to_is_the_sync_of_the_workspace(
    shared_fleetlog: FleetlogServer, finished: dict[str, Any]
) -> None:
    asked = path_to_asked(why(shared_fleetlog, finished, finished["run"]["message.stop"]))[-1]

    (requested,) = asked["children"]
    assert (requested["kind"], requested["type"]) == ("event", "session.sync_requested")
    assert ("effect", "workspace.sync") in {(node["kind"], node["type"]) for node in below(requested)}


def test_what_a_message_stop_led_to_was_caused_by_it(shared_fleetlog: FleetlogServer, finished: dict[str, Any]) -> None:
    (requested,) = path_to_asked(why(shared_fleetlog, finished, finished["run"]["message.stop"]))[-1]["children"]

    path = path_to_asked(why(shared_fleetlog, finished, requested))

    assert [node["type"] for node in path[-2:]] == ["message.stop", "session.sync_requested"]


def test_a_stop_by_a_person_is_its_own_command(shared_fleetlog: FleetlogServer, finished: dict[str, Any]) -> None:
    path = path_to_asked(why(shared_fleetlog, finished, finished["session"]["session.stop_requested"]))

    assert [node["kind"] for node in path] == ["command", "event"]
    types = {node["type"] for node in below(path[-1])}
    assert {"session.stopping", "session.stopped", "container.stop"} <= types


def test_an_unknown_position_is_a_404_and_no_number_a_400(shared_fleetlog: FleetlogServer) -> None:
    shared_fleetlog.problem(404, "GET", "/api/events/999999999/why")
    shared_fleetlog.problem(400, "GET", "/api/events/abc/why")

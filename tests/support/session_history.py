"""What a session does, and what its log says, judged by the rules that every log must keep."""

from typing import Any

import msgspec

from domain.event import decode
from tests.support.fleetlog_server import FleetlogServer
from tests.unit.domain.session.log_rules import check_log


def checked_history(server: FleetlogServer, session_id: str) -> list[dict[str, Any]]:
    """The session's events, after the gate and everything else in log_rules.py was found to have held in them."""
    events = server.stream(session_id)
    check_log([decode(each["type"], each["schemaVersion"], msgspec.json.encode(each["payload"])) for each in events])
    return events


def payloads(events: list[dict[str, Any]], event_type: str) -> list[dict[str, Any]]:
    return [dict(each["payload"]) for each in events if each["type"] == event_type]


def output(server: FleetlogServer, script: str, session_id: str) -> str:
    """What a run that succeeds writes."""
    answer = server.finished(script, sessionId=session_id)
    assert answer["snapshot"]["state"] == "succeeded", answer["snapshot"]
    return "".join(event["payload"]["text"] for event in answer["events"] if event["type"] == "message.delta")


def removed(server: FleetlogServer) -> dict[str, Any]:
    """Remove all workers that a read finds stopped now, each through its gate; the counts."""
    server.ok("GET", "/api/session-workers", params={"limit": 1})  # the read model has seen the last stop then
    body = {"removeAfterMs": 0, "limit": 100}
    return dict(server.ok("POST", "/api/session-workers/cleanup/stopped", json=body))

"""What quotas look like from outside: a named, final result, and lists that say when they are short."""

import json
import uuid
from collections.abc import Iterable
from typing import Any

import httpx
import pytest

from application.runs import callbacks
from domain.run.quotas import RunQuotas
from infrastructure.postgres.event_store import store

NDJSON = {"content-type": "application/x-ndjson"}


@pytest.fixture
def run_id(client: httpx.Client) -> str:
    """An external run."""
    run_id = f"r-{uuid.uuid4().hex}"
    client.post(f"/api/runs/{run_id}/bind", json={"sessionId": f"s-{run_id}"}).raise_for_status()
    return run_id


def report(client: httpx.Client, run_id: str, events: Iterable[tuple[str, dict[str, Any]]]) -> httpx.Response:
    lines = [
        json.dumps({"eventId": f"{number}", "type": kind, "payload": payload})
        for number, (kind, payload) in enumerate(events)
    ]
    return client.post(f"/api/runs/{run_id}/callbacks", content="\n".join(lines), headers=NDJSON)


def read(client: httpx.Client, path: str, position: int) -> Any:
    return client.get(path, params={"minPosition": position}).raise_for_status().json()


def last_position(client: httpx.Client, run_id: str) -> int:
    events = client.get(f"/api/streams/run:{run_id}/events", params={"limit": 1000}).json()["events"]
    return int(events[-1]["position"])


def test_a_run_with_too_many_open_questions_ends_by_the_name_of_the_quota(client: httpx.Client, run_id: str) -> None:
    allowed = RunQuotas().open_questions
    asked = [("human_loop.requested", {"questionId": f"q{number}"}) for number in range(allowed + 1)]

    refused = report(client, run_id, asked)

    assert (refused.status_code, refused.json()["reason"]) == (409, "quota_exceeded")
    assert "MAX_OPEN_QUESTIONS_PER_RUN allows 100" in refused.json()["detail"]
    shown = read(client, f"/api/runs/{run_id}", last_position(client, run_id))
    assert (shown["outcome"], shown["error"]["errorClass"]) == ("failed", "quota_exceeded")
    assert shown["openQuestions"] == []
    further = report(client, run_id, [("message.delta", {"text": "x"})])
    assert (further.status_code, further.json()["reason"]) == (409, "quota_exceeded")


def test_a_long_list_of_todos_is_cut_and_says_so(client: httpx.Client, run_id: str) -> None:
    allowed = RunQuotas().todos
    todos = [{"todoId": f"t{number}", "content": "c"} for number in range(allowed + 3500)]

    report(
        client, run_id, [("todo.snapshot", {"todos": todos}), ("todo.update", {"todo": todos[-1]})]
    ).raise_for_status()

    position = last_position(client, run_id)
    listed = read(client, f"/api/runs/{run_id}/todos", position)
    assert (listed["total"], listed["leftOut"]) == (allowed, 3501)
    changes = read(client, f"/api/runs/{run_id}/todos/events", position)["events"]
    assert [change["leftOut"] for change in changes] == [3500, 1]
    (warning,) = read(client, f"/api/runs/{run_id}", position)["warnings"]
    assert (warning["code"], warning["message"][:27]) == ("todos_left_out", "3500 todos are left out of ")


def test_callbacks_that_belong_to_no_run_are_kept_up_to_a_number(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks, "MAX_UNMATCHED", 3)
    run_id = f"nobody-{uuid.uuid4().hex}"
    said = [("message.delta", {"text": "x"}), ("message.delta", {"text": "y" * 20_000}), ("message.stop", {})]
    report(client, run_id, said).raise_for_status()

    for number in range(2):  # with one that is known: it is not kept again
        more = [{"eventId": each, "type": "message.stop"} for each in ("2", f"more-{number}", f"yet-more-{number}")]
        refused = client.post(f"/api/runs/{run_id}/callbacks", json=more)
        assert (refused.status_code, refused.json()["reason"]) == (409, "unmatched_full")
    assert [each["action"] for each in report(client, run_id, said).json()] == ["duplicate_ignored"] * 3
    kept = client.get(f"/api/streams/unmatched:{run_id}/events").json()["events"]
    assert [event["type"] for event in kept] == ["callback.kept"] * 3 + ["callback.unmatched_full"]
    assert [event["payload"].get("payloadBytes", 0) > 20_000 for event in kept[:3]] == [False, True, False]


def test_of_a_batch_that_belongs_to_no_run_as_many_are_kept_as_there_is_room_for(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks, "MAX_UNMATCHED", 3)
    run_id = f"nobody-{uuid.uuid4().hex}"
    refused = report(client, run_id, [("message.delta", {"text": "x"})] * 5)

    assert (refused.status_code, refused.json()["reason"]) == (409, "unmatched_full")
    kept = client.get(f"/api/streams/unmatched:{run_id}/events").json()["events"]
    assert [event["eventId"] for event in kept] == ["cb/0", "cb/1", "cb/2", "full"]


def test_a_payload_nested_too_deeply_is_refused_and_named(client: httpx.Client, run_id: str) -> None:
    deep: Any = "x"
    for _ in range(150):
        deep = [deep]

    refused = report(client, run_id, [("tool.end", {"toolId": "t", "output": deep})])

    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "[0].payload")
    assert "deeper than 100 levels" in refused.json()["detail"]


def test_the_events_of_an_answer_end_by_bytes_and_it_says_so(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"runId": f"r-{uuid.uuid4().hex}", "provider": "scripted", "messages": [{"role": "user", "content": "x"}]}
    client.post("/api/runs/queue/enqueue", json=body).raise_for_status()
    said = [("message.delta", {"text": "x" * 1_000})] * 20
    report(client, str(body["runId"]), said).raise_for_status()
    client.post(f"/api/runs/{body['runId']}/stop").raise_for_status()
    whole = client.post("/api/runs/start", json=body).raise_for_status().json()
    assert (whole["eventsTruncated"], len(whole["events"])) == (False, whole["snapshot"]["seq"])
    monkeypatch.setattr(store, "PAGE_BYTES", 4_000)
    short = client.post("/api/runs/start", json=body).raise_for_status().json()
    assert (short["eventsTruncated"], 3 < len(short["events"]) < 8) == (True, True)
    page = client.get(f"/api/streams/run:{body['runId']}/events", params={"limit": 1000}).raise_for_status().json()
    assert (len(page["events"]), page["nextAfter"]) == (len(short["events"]), page["events"][-1]["seq"])

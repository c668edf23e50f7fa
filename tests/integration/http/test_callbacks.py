"""Callbacks of many writers to one run: none loses a race, each sees its own in order, repetitions change nothing."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from application.aggregates import aggregates
from application.runs import callbacks
from tests.support.api_server import ApiServer
from tests.support.problems import problem

WRITERS = 8


def delta(event_id: str) -> dict[str, Any]:
    return {"eventId": event_id, "type": "message.delta", "payload": {"text": event_id}}


@pytest.fixture
def run_id(client: httpx.Client) -> str:
    run_id = f"outside-{uuid.uuid4().hex}"
    assert client.post(f"/api/runs/{run_id}/bind", json={"sessionId": "s"}).status_code == 200
    return run_id


def recorded(client: httpx.Client, stream: str) -> list[tuple[int, str]]:
    """Position and event id of each event of a stream."""
    events = client.get(f"/api/streams/{stream}/events", params={"limit": 1000}).json()["events"]
    return [(event["position"], event["eventId"]) for event in events]


def test_no_writer_of_many_is_refused_and_each_keeps_its_order(
    client: httpx.Client, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (aggregates, callbacks):
        monkeypatch.setattr(module, "MAX_RACES", 1)  # nobody may lose a single one

    def write(writer: int) -> list[dict[str, Any]]:
        results = []
        for number in range(12):
            one = delta(f"{writer}-{number}")
            answer = client.post(f"/api/runs/{run_id}/callbacks", json=one if number % 2 else [one])
            assert answer.status_code == 200, answer.text
            results += [answer.json()] if number % 2 else answer.json()
        return results

    with ThreadPoolExecutor(WRITERS) as threads:
        written = list(threads.map(write, range(WRITERS)))

    log = {event_id: position for position, event_id in recorded(client, f"run:{run_id}")}
    assert len(log) == 1 + WRITERS * 12
    for writer, results in enumerate(written):
        assert [each["action"] for each in results] == ["recorded"] * 12
        positions = [log[f"cb/{writer}-{number}"] for number in range(12)]
        assert positions == sorted(positions) == [each["position"] for each in results]


def test_repetitions_are_found_within_a_batch_across_batches_and_after_the_end(
    client: httpx.Client, run_id: str
) -> None:
    def send(*batch: dict[str, Any]) -> list[tuple[str, int]]:
        answer = client.post(f"/api/runs/{run_id}/callbacks", json=list(batch))
        assert answer.status_code == 200, answer.text
        return [(each["action"], each["position"]) for each in answer.json()]

    end = {"eventId": "end", "type": "run.finished", "payload": {"outcome": "succeeded"}}
    (_, a), (repeated, same), (_, b) = send(delta("a"), delta("a"), delta("b"))
    assert (repeated, same) == ("duplicate_ignored", a)
    (first, _), (new, c), (second, _) = send(delta("b"), delta("c"), delta("a"))
    assert (first, new, second) == ("duplicate_ignored", "recorded", "duplicate_ignored")
    assert a < b < c
    (ended, _), (late, _), (known, position) = send(end, delta("late"), delta("a"))
    assert (ended, late, known, position) == ("run_finished", "recorded", "duplicate_ignored", a)
    assert [action for action, _ in send(delta("late"), delta("later"), delta("a"), end)] == [
        "duplicate_ignored",
        "recorded",
        "duplicate_ignored",
        "duplicate_ignored",
    ]
    ids = [event_id for _, event_id in recorded(client, f"run:{run_id}")]
    assert ids[1:5] == ["cb/a", "cb/b", "cb/c", "cb/end"]
    assert [event_id for _, event_id in recorded(client, f"unmatched:{run_id}")] == ["cb/late", "cb/later"]


def test_callbacks_of_an_unknown_run_are_kept_once(client: httpx.Client) -> None:
    run_id = f"unknown-{uuid.uuid4().hex}"
    stop = {"eventId": "s", "type": "message.stop", "payload": {}}
    question = {"eventId": "q", "type": "human_loop.requested", "payload": {"questionId": "q", "prompt": "?"}}
    answers = [client.post(f"/api/runs/{run_id}/callbacks", json=[delta("a"), stop, question]).json() for _ in "12"]
    assert [each["action"] for each in answers[0]] == ["recorded", "message_stop_missing_run", "human_loop_missing_run"]
    assert [each["action"] for each in answers[1]] == ["duplicate_ignored"] * 3
    assert [event_id for _, event_id in recorded(client, f"unmatched:{run_id}")] == ["cb/a", "cb/s", "cb/q"]


def test_a_run_that_others_keep_busy_is_a_503_with_retry_after(
    api: ApiServer, client: httpx.Client, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks, "MAX_RACES", 0)
    answer = client.post(f"/api/runs/{run_id}/callbacks", json=delta("a"))
    assert problem(answer, 503)["reason"] == "too_busy"
    assert answer.headers["retry-after"] == "1"

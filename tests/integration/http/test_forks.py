"""Forks over HTTP: what is refused, and what asking twice means; tests/e2e/test_forks.py has what they carry."""

import uuid
from typing import Any

import httpx
import pytest


@pytest.fixture
def run_id(client: httpx.Client) -> str:
    """A run that is queued, in a session that never had a worker."""
    run_id = f"forked-{uuid.uuid4().hex[:8]}"
    body = {
        "runId": run_id,
        "sessionId": f"s-{run_id}",
        "appId": "shop",
        "userLoginName": "ada",
        "provider": "scripted",
        "messages": [{"role": "user", "content": "echo hello"}],
    }
    assert client.post("/api/runs/queue/enqueue", json=body).is_success
    return run_id


def fork(client: httpx.Client, run_id: str, **options: Any) -> httpx.Response:
    headers = options.pop("headers", {})
    return client.post(f"/api/runs/{run_id}/fork", json={"atSeq": 1} | options, headers=headers)


def new_session() -> str:
    return f"fork-{uuid.uuid4().hex[:8]}"


def test_a_fork_before_any_sync_begins_without_files_and_says_so(client: httpx.Client, run_id: str) -> None:
    session_id = new_session()
    answer = fork(client, run_id, sessionId=session_id)

    assert answer.status_code == 201
    made = answer.json()
    assert (made["sessionId"], made["created"]) == (session_id, True)
    origin = made["origin"]
    assert (origin["runId"], origin["sessionId"], origin["atSeq"]) == (run_id, f"s-{run_id}", 1)
    assert (origin["files"], origin["syncPosition"], origin["conversation"]) == ("none", None, "retold")
    assert [warning["code"] for warning in origin["warnings"]] == ["no_sync_before"]
    worker = client.get(f"/api/session-workers/{session_id}", params={"minPosition": made["position"]}).json()
    assert worker["origin"] == origin
    assert (worker["appId"], worker["userLoginName"], worker["state"]) == ("shop", "ada", "deleted")
    (first,) = client.get(f"/api/streams/session:{session_id}/events").json()["events"]
    assert (first["type"], first["payload"]["origin"]["runId"]) == ("session.forked", run_id)


def test_the_log_tells_who_forked_and_the_origin_hears_nothing_of_it(client: httpx.Client, run_id: str) -> None:
    before = client.get(f"/api/streams/run:{run_id}/events").json()["events"]
    made = fork(client, run_id, headers={"Idempotency-Key": f"why-{run_id}"}).json()

    (first,) = client.get(f"/api/streams/session:{made['sessionId']}/events").json()["events"]
    assert first["metadata"]["causationId"]
    why = client.get(f"/api/events/{first['position']}/why").json()["tree"]
    assert (why["kind"], why["actor"]) == ("command", first["metadata"]["actor"])
    assert [child["type"] for child in why["children"]] == ["session.forked"]
    assert client.get(f"/api/streams/run:{run_id}/events").json()["events"] == before


def test_the_same_fork_again_is_the_same_session(client: httpx.Client, run_id: str) -> None:
    session_id = new_session()
    first = fork(client, run_id, sessionId=session_id)
    again = fork(client, run_id, sessionId=session_id)
    assert (again.status_code, again.json()["created"]) == (200, False)
    assert again.json()["worker"] == first.json()["worker"]


def test_an_idempotency_key_names_the_session_that_has_no_id_of_its_callers(client: httpx.Client, run_id: str) -> None:
    headers = {"Idempotency-Key": f"key-{run_id}"}
    first, again = fork(client, run_id, headers=headers), fork(client, run_id, headers=headers)
    assert first.json() == again.json()
    assert again.headers["idempotent-replay"] == "true"
    assert fork(client, run_id).json()["sessionId"] != first.json()["sessionId"]
    assert fork(client, run_id, sessionId=new_session(), headers=headers).status_code == 409


def test_another_session_under_this_id_is_a_conflict(client: httpx.Client, run_id: str) -> None:
    session_id = new_session()
    assert fork(client, run_id, sessionId=session_id).is_success
    assert client.post(f"/api/runs/{run_id}/stop").is_success
    other = fork(client, run_id, sessionId=session_id, atSeq=2)
    assert (other.status_code, other.json()["reason"]) == (409, "identity_conflict")
    assert f"{run_id!r} at seq 1" in other.json()["detail"]


def test_a_run_of_which_nothing_tells_whose_it_is_is_a_conflict(client: httpx.Client) -> None:
    run_id = f"outside-{uuid.uuid4().hex[:8]}"
    assert client.post(f"/api/runs/{run_id}/bind", json={"sessionId": f"s-{run_id}"}).is_success
    refused = fork(client, run_id)
    assert (refused.status_code, refused.json()["reason"]) == (409, "origin_unknown")


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("atSeq", {"atSeq": 0}),
        ("atSeq", {"atSeq": -1}),
        ("atSeq", {"atSeq": 2}),
        ("atSeq", {"atSeq": 2**70}),
        ("atSeq", {"atSeq": "1"}),
        ("sessionId", {"sessionId": "no/id"}),
        ("sessionId", {"sessionId": ""}),
        ("message", {"message": "hello"}),
    ],
)
def test_what_can_not_be_is_refused_by_its_field(
    client: httpx.Client, run_id: str, field: str, body: dict[str, Any]
) -> None:
    answer = fork(client, run_id, **body)
    assert answer.status_code == 400, answer.text
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_a_seq_is_required_and_an_unknown_run_is_unknown(client: httpx.Client, run_id: str) -> None:
    missing = client.post(f"/api/runs/{run_id}/fork", json={})
    assert (missing.status_code, missing.json()["errors"][0]["field"]) == (400, "atSeq")
    assert fork(client, "nonesuch").status_code == 404

"""Diff and bisect over HTTP; tests/integration/projections/test_history.py has what they find."""

import uuid
from typing import Any

import httpx
import pytest

from tests.support.api_server import ApiServer
from tests.support.mixed_history import append_all, mixed_history


@pytest.fixture(scope="module")
def run_id(client: httpx.Client) -> str:
    run_id = f"history-{uuid.uuid4().hex[:8]}"
    assert client.post(f"/api/runs/{run_id}/bind", json={"sessionId": f"s-{run_id}"}).is_success
    for number, status in enumerate(("todo", "doing", "done")):
        todo = {"todoId": "t", "content": "work", "status": status}
        body = {"eventId": str(number), "type": "todo.update", "payload": {"todo": todo}}
        assert client.post(f"/api/runs/{run_id}/callbacks", json=body).is_success
    return run_id


def test_a_diff_names_field_event_and_patch(client: httpx.Client, run_id: str) -> None:
    found = client.get(f"/api/runs/{run_id}/diff", params={"from": 2, "to": 4}).json()

    changed = {change["path"]: change for change in found["changes"]}
    status = changed["/todos/t/status"]
    assert (status["before"], status["after"], status["by"]["seq"]) == ("todo", "done", 4)
    assert {"op": "replace", "path": "/todos/t/status", "value": "done"} in found["patch"]
    assert found["asOfPosition"] > 0


def test_bisect_finds_the_event(client: httpx.Client, run_id: str) -> None:
    for monotone in (False, True):
        body = {"where": 'todos.t.status == "done"', "monotone": monotone}
        found = client.post(f"/api/runs/{run_id}/bisect", json=body).json()
        assert (found["found"], found["first"]["seq"], found["first"]["type"]) == (True, 4, "todo.update")


def test_a_session_is_compared_and_searched_as_a_run_is(api: ApiServer, client: httpx.Client) -> None:
    history = mixed_history(sessions=2, runs_each=1, prefix="compared-")
    position = api.run(append_all(api.deps.store, history))
    path = "/api/session-workers/compared-session-1"
    query = {"atPosition": position}
    last = client.get(path, params=query).json()["seq"]

    found = client.get(f"{path}/diff", params={"from": 7, "to": last}).json()
    state = {change["path"]: change for change in found["changes"]}["/state"]
    assert (state["before"], state["after"], state["by"]["type"]) == ("running", "stopped", "session.stopped")
    assert {"op": "replace", "path": "/state", "value": "stopped"} in found["patch"]
    assert found["before"]["state"] == client.get(path, params={"atSeq": 7}).json()["state"]

    for monotone in (False, True):
        body = {"where": 'state == "stopped"', "monotone": monotone}
        first = client.post(f"{path}/bisect", json=body).json()["first"]
        assert (first["seq"], first["type"]) == (last, "session.stopped")


@pytest.mark.parametrize(
    ("status", "method", "path", "options"),
    [
        (404, "GET", "/api/runs/nonesuch/diff", {}),
        (404, "POST", "/api/session-workers/nonesuch/bisect", {"json": {"where": "true"}}),
        (400, "GET", "/api/runs/{run}/diff", {"params": {"from": 3, "to": 2}}),
        (400, "GET", "/api/runs/{run}/diff", {"params": {"to": 99}}),
        (400, "POST", "/api/runs/{run}/bisect", {"json": {"where": "import os"}}),
        (400, "POST", "/api/runs/{run}/bisect", {"json": {"where": "stat == 'failed'"}}),
        (400, "POST", "/api/runs/{run}/bisect", {"json": {"where": "true", "from": 0}}),
        (400, "POST", "/api/runs/{run}/bisect", {"json": {"where": "true", "to": 2**70}}),
    ],
)
def test_what_can_not_be_answered_is_refused(
    client: httpx.Client, run_id: str, status: int, method: str, path: str, options: dict[str, Any]
) -> None:
    assert client.request(method, path.format(run=run_id), **options).status_code == status

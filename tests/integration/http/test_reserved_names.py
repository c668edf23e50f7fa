"""Names that would collide with a fixed path: a new thing may not have them, an old one goes on with them."""

import uuid
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from domain.identifiers import RESERVED, session_stream, workspace_prefix
from domain.record import Metadata, NewEvent
from domain.session.events import ActivationRequested
from domain.workspace.plan import build_restore_plan
from interfaces.http.routes import ENDPOINTS
from tests.support.api_server import ApiServer
from tests.support.problems import fields

KB = {"appId": "shop", "userLoginName": "kb"}
RUN = {"provider": "scripted", "messages": [{"role": "user", "content": "echo"}]}


@pytest.mark.usefixtures("nothing_is_written")
@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/api/session-workers/s-new/activate", KB, "userLoginName"),
        ("/api/session-workers/cleanup/activate", KB | {"userLoginName": "ann"}, "sessionId"),
        ("/api/runs/queue/enqueue", RUN | KB, "userLoginName"),
        ("/api/runs/start", RUN | KB | {"sessionId": "s-new"}, "userLoginName"),
        ("/api/runs/start", RUN | {"sessionId": "cleanup"}, "sessionId"),
        ("/api/runs/start", RUN | {"runId": "start"}, "runId"),
        ("/api/runs/queue/enqueue", RUN | {"runId": "queue"}, "runId"),
        ("/api/runs/queue/enqueue", RUN | {"runId": "drain"}, "runId"),
        ("/api/runs/restore-plan/bind", {"sessionId": "s"}, "runId"),
        ("/api/runs/r-outside/bind", {"sessionId": "cleanup"}, "sessionId"),
    ],
)
def test_what_is_new_may_not_have_a_reserved_name(
    client: httpx.Client, path: str, body: dict[str, Any], field: str
) -> None:
    assert fields(client.post(path, json=body)) == [field]


def test_a_run_without_a_user_named_by_a_caller_called_kb_is_refused(client: httpx.Client) -> None:
    assert fields(client.post("/api/runs/queue/enqueue", json=RUN, headers={"x-actor": "kb"})) == ["userLoginName"]


def test_a_session_that_has_a_reserved_name_already_goes_on(api: ApiServer, client: httpx.Client) -> None:
    session_id = f"s-{uuid.uuid4().hex}"
    prefix = workspace_prefix("shop", "default", "kb", session_id)
    identity = {"app_id": "shop", "project_name": "default", "user_login_name": "kb"}
    plan = build_restore_plan(**identity, session_prefix=prefix, manifest=None, session_sync=None)
    requested = ActivationRequested(
        generation=1, kind="create", **identity, workspace_prefix=prefix, manifest=None, plan=plan
    )
    event = NewEvent(
        event_id="of-an-earlier-version",
        event=requested,
        occurred_at=datetime.now(UTC),
        metadata=Metadata(actor="ann", correlation_id="c"),
    )
    api.run(api.deps.store.append(session_stream(session_id), 0, [event]))

    activated = client.post(f"/api/session-workers/{session_id}/activate", params={"waitMs": 0}, json=KB)
    assert activated.status_code == 202, activated.text
    queued = client.post("/api/runs/queue/enqueue", json=RUN | KB | {"sessionId": session_id})
    assert queued.status_code == 202, queued.text


@pytest.mark.parametrize("name", ["runId", "sessionId"])
def test_each_fixed_word_beside_an_id_in_the_apis_paths_is_reserved(name: str) -> None:
    paths = {endpoint.path for endpoint in ENDPOINTS}
    before = {path.split("{" + name + "}")[0] for path in paths if "{" + name + "}" in path}
    beside = {path[len(start) :].split("/")[0] for start in before for path in paths if path.startswith(start)}
    assert {word for word in beside if "{" not in word} == RESERVED[name]

"""What the installation knows as secret does not get into the log by what callers send, however they write it."""

import base64
import re
import uuid
from urllib.parse import quote

import httpx
import psycopg
import pytest

from tests.support.api_server import PLANTED, ApiServer

WRITTEN = {
    "plain": PLANTED,
    "base64": base64.b64encode(f"key: {PLANTED}\n".encode()).decode(),
    "hex": PLANTED.encode().hex(),
    "url": quote(f"https://u:{PLANTED}@host/?a=b", safe=""),
}


@pytest.fixture(params=WRITTEN)
def written(request: pytest.FixtureRequest) -> str:
    return WRITTEN[request.param]


def recorded(client: httpx.Client, stream: str) -> str:
    found = client.get(f"/api/streams/{stream}/events")
    assert found.status_code == 200
    return found.text


def assert_clean(text: str) -> None:
    assert "[secret]" in text
    assert not [name for name, each in WRITTEN.items() if each[8:-8] in text]


def test_messages_and_options_of_a_run(client: httpx.Client, written: str) -> None:
    run_id = f"r-{uuid.uuid4().hex}"
    body = {
        "runId": run_id,
        "provider": "scripted",
        "messages": [{"role": "user", "content": f"use {written} for it"}],
        "providerOptions": {"script": f"curl -H 'x-key: {written}' http://crm"},
    }
    assert client.post("/api/runs/queue/enqueue", json=body).status_code == 202
    assert client.post("/api/runs/queue/enqueue", json=body).status_code == 202, "the same body attaches"

    spec = recorded(client, f"run:{run_id}")
    assert spec.count("[secret]") == 2
    assert_clean(spec)
    client.post(f"/api/runs/{run_id}/stop")


def test_callbacks_and_answers(client: httpx.Client, written: str) -> None:
    run_id = f"r-{uuid.uuid4().hex}"
    assert client.post(f"/api/runs/{run_id}/bind", json={"sessionId": f"s-{run_id}"}).is_success
    callbacks = [
        {"eventId": "1", "type": "message.delta", "payload": {"text": f"found {written}"}},
        {"eventId": "2", "type": "nobody.knows", "payload": {"it": {"is": [written]}}},
        {"eventId": "3", "type": "human_loop.requested", "payload": {"questionId": "q", "prompt": f"{written}?"}},
    ]
    assert client.post(f"/api/runs/{run_id}/callbacks", json=callbacks).is_success
    replied = client.post("/api/human-loop/reply", json={"runId": run_id, "questionId": "q", "answer": [written]})
    assert_clean(replied.text)
    assert_clean(recorded(client, f"run:{run_id}"))


def test_one_callback_of_many(client: httpx.Client, written: str) -> None:
    run_id = f"r-{uuid.uuid4().hex}"
    assert client.post(f"/api/runs/{run_id}/bind", json={"sessionId": f"s-{run_id}"}).is_success
    texts = [f"{n} {'of many ' * 1000}" for n in range(30)]
    texts[17] = f"17 {written}"
    callbacks = [{"eventId": f"{n}", "type": "message.delta", "payload": {"text": t}} for n, t in enumerate(texts)]
    assert client.post(f"/api/runs/{run_id}/callbacks", json=callbacks).is_success

    events = client.get(f"/api/streams/run:{run_id}/events").json()["events"]
    told = [event["payload"]["text"] for event in events if event["type"] == "message.delta"]
    assert [*told[:17], *told[18:]] == [*texts[:17], *texts[18:]]
    assert_clean(told[17])


def test_a_callback_that_no_run_waits_for(client: httpx.Client, written: str) -> None:
    run_id = f"r-{uuid.uuid4().hex}"
    callback = {"eventId": "1", "type": "message.delta", "payload": {"text": f"found {written}"}}
    assert client.post(f"/api/runs/{run_id}/callbacks", json=callback).json()["action"] == "recorded"
    assert_clean(recorded(client, f"unmatched:{run_id}"))


def test_the_callers_own_token(client: httpx.Client) -> None:
    run_id, token = f"r-{uuid.uuid4().hex}", uuid.uuid4().hex
    assert client.post(f"/api/runs/{run_id}/bind", json={"sessionId": f"s-{run_id}"}).is_success
    callback = {"eventId": "1", "type": "message.delta", "payload": {"text": f"FLEETLOG_CALLBACK_TOKEN={token}"}}
    path = f"/api/runs/{run_id}/callbacks"
    assert client.post(path, json=callback, headers={"authorization": f"Bearer {token}"}).is_success
    told = recorded(client, f"run:{run_id}")
    assert "FLEETLOG_CALLBACK_TOKEN=[secret]" in told
    assert token not in told


MCP_KEY = "crm-9f8e7d6c5b4a39281706"


def with_servers(run_id: str, key: str = MCP_KEY) -> dict[str, object]:
    return {
        "runId": run_id,
        "provider": "claude-code",
        "messages": [{"role": "user", "content": "go"}],
        "providerOptions": {
            "mcpServers": {"crm": {"command": "crm", "env": {"CRM_API_KEY": key, "MODE": "production"}}}
        },
    }


def test_the_secrets_of_mcp_servers(client: httpx.Client) -> None:
    run_id = f"r-{uuid.uuid4().hex}"
    for _ in range(2):
        assert client.post("/api/runs/queue/enqueue", json=with_servers(run_id)).status_code == 202
    other = client.post("/api/runs/queue/enqueue", json=with_servers(run_id, "another-key-1234567890"))
    assert other.status_code == 409, "another secret is another request"

    (queued,) = client.get(f"/api/streams/run:{run_id}/events").json()["events"]
    variables = queued["payload"]["spec"]["providerOptions"]["mcpServers"]["crm"]["env"]
    assert variables["MODE"] == "production"
    assert re.fullmatch(r"\[secret [0-9a-f]{24}\]", variables["CRM_API_KEY"])
    assert MCP_KEY not in client.get(f"/api/runs/{run_id}").text

    callback = {"eventId": "1", "type": "message.delta", "payload": {"text": f"my key is {MCP_KEY}"}}
    client.post(f"/api/runs/{run_id}/callbacks", json=callback)
    told = recorded(client, f"run:{run_id}")
    assert "my key is [secret]" in told
    assert MCP_KEY not in told


def test_the_secrets_of_a_run_that_has_ended_are_not_kept_again(api: ApiServer, client: httpx.Client) -> None:
    run_id = f"r-{uuid.uuid4().hex}"
    client.post("/api/runs/queue/enqueue", json=with_servers(run_id)).raise_for_status()
    assert kept_of(api, run_id) == 1
    client.post(f"/api/runs/{run_id}/stop").raise_for_status()
    assert client.post("/api/runs/queue/enqueue", json=with_servers(run_id)).status_code == 202
    assert kept_of(api, run_id) == 0


def kept_of(api: ApiServer, run_id: str) -> int:
    with psycopg.connect(api.dsn) as connection:
        row = connection.execute("SELECT count(*) FROM run_secrets WHERE run_id = %s", (run_id,)).fetchone()
    assert row is not None
    return int(row[0])

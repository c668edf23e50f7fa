"""The audit over HTTP; tests/integration/audit has what it finds."""

import json

import httpx


def noted(client: httpx.Client) -> None:
    callback = {"eventId": "e-1", "type": "message.stop"}
    assert client.post("/api/runs/audited/callbacks", json=callback).is_success


def test_the_log_is_verified_and_bears_out_its_checkpoint(client: httpx.Client) -> None:
    noted(client)
    checkpoint = client.get("/api/audit/checkpoint").json()

    found = client.post("/api/audit/verify", json={"checkpoint": checkpoint}).json()

    assert found["ok"], found
    assert found["checkpoint"]["ok"]
    assert found["position"] == found["asOfPosition"] >= json.loads(checkpoint["statement"])["position"]
    assert {each["projection"] for each in found["projections"] if each["equal"]} >= {"runs", "session_workers"}


def test_read_models_may_be_left_out(client: httpx.Client) -> None:
    assert client.get("/api/audit/verify", params={"readModels": "false"}).json()["projections"] == []


def test_what_is_no_checkpoint_is_refused(client: httpx.Client) -> None:
    body = {"checkpoint": {"statement": "{}", "signature": "", "publicKey": ""}}

    refused = client.post("/api/audit/verify", json=body)

    assert refused.status_code == 400
    assert refused.json()["errors"][0]["field"] == "checkpoint.statement"


def test_the_log_is_exported_line_by_line(client: httpx.Client) -> None:
    noted(client)

    lines = client.get("/api/audit/export", params={"after": 0, "upTo": 2}).text.splitlines()

    assert [json.loads(line)["position"] for line in lines] == [1, 2][: len(lines)]
    assert lines

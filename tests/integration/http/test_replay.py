"""Replay over HTTP."""

import httpx


def test_a_run_that_goes_on_and_bad_speeds_are_refused(client: httpx.Client) -> None:
    assert client.post("/api/runs/going-on/bind", json={"sessionId": "s-going-on"}).is_success

    goes_on = client.get("/api/runs/going-on/stream", params={"replay": "true"})
    assert (goes_on.status_code, goes_on.json()["reason"]) == (409, "run_not_finished")
    assert client.get("/api/runs/nonesuch/stream", params={"replay": "true"}).status_code == 404
    for speed in ("-1", "fast", "nan", "1e9"):
        refused = client.get("/api/runs/going-on/stream", params={"replay": "true", "speed": speed})
        assert refused.status_code == 400, speed
        assert refused.json()["errors"][0]["field"] == "speed"

"""A flood of callbacks: all of them are recorded once, others get through, and the server's memory stays bounded."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.support.fleetlog_parts import on_shared_postgres
from tests.support.fleetlog_server import FleetlogServer, new_id
from tests.support.memory import peak_bytes

MIB = 1024 * 1024
SENDERS = 12
BATCHES = 1
PATIENCE_S = 120


@pytest.fixture
def fleetlog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetlogServer]:
    with FleetlogServer(tmp_path_factory.mktemp("flood") / "home", **on_shared_postgres()) as server:
        yield server


def batch(name: str) -> bytes:
    """7 MiB of callbacks, 100 KiB each."""
    text = "x" * 100 * 1024
    lines = ({"eventId": f"{name}-{n}", "type": "message.delta", "payload": {"text": text}} for n in range(70))
    return "\n".join(map(json.dumps, lines)).encode()


def send(client: httpx.Client, run_id: str, name: str) -> list[str]:
    """The actions of one batch, sent again as often as the server asks for that."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        answer = client.post(
            f"/api/runs/{run_id}/callbacks", content=batch(name), headers={"content-type": "application/x-ndjson"}
        )
        if answer.status_code == 200:
            return [one["action"] for one in answer.json()]
        assert (answer.status_code, answer.json()["reason"]) == (503, "too_busy"), answer.text
        time.sleep(float(answer.headers["retry-after"]))
    raise AssertionError("the server was too busy for too long")


@pytest.mark.proof
@pytest.mark.timeout(300)
def test_large_bodies_that_are_refused_leave_nothing_behind(fleetlog: FleetlogServer) -> None:
    small = b",".join(b'{"eventId":"%d","type":"x","payload":{}}' % n for n in range(180_000))
    nested = b'{"eventId":"1","type":"x","payload":{"a":[' + b"[]," * 2_700_000 + b"[]]}}"
    long = json.dumps({"provider": "scripted", "messages": [{"role": "user", "content": "y" * 8_000_000}]}).encode()
    refused = (("r/callbacks", b"[" + small + b"]", 400), ("r/callbacks", nested, 400), ("start", long, 413))
    before = peak_bytes(fleetlog.pid)

    def send_refused(number: int) -> tuple[int, int]:
        path, body, status = refused[number % 3]
        answer = fleetlog.client.post(f"/api/runs/{path}", content=body, headers={"content-type": "application/json"})
        return status, answer.status_code

    with ThreadPoolExecutor(SENDERS) as pool:
        statuses = list(pool.map(send_refused, range(5 * SENDERS)))

    assert all(got in {wanted, 503} for wanted, got in statuses)
    assert peak_bytes(fleetlog.pid) - before < 80 * MIB


@pytest.mark.proof
@pytest.mark.timeout(300)
def test_a_flood_of_callbacks_costs_its_senders_time_and_the_server_bounded_memory(fleetlog: FleetlogServer) -> None:
    session = new_id("session")
    run_ids = [new_id("outside") for _ in range(SENDERS)]
    for run_id in run_ids:
        fleetlog.ok("POST", f"/api/runs/{run_id}/bind", json={"sessionId": session})
    before = peak_bytes(fleetlog.pid)

    def sender(run_id: str) -> list[str]:
        return [action for n in range(BATCHES) for action in send(fleetlog.client, run_id, str(n))]

    with ThreadPoolExecutor(SENDERS) as pool:
        senders = [pool.submit(sender, run_id) for run_id in run_ids]
        for _ in range(20):
            fleetlog.ok("POST", f"/api/runs/{new_id('small')}/bind", json={"sessionId": session})
    actions = [action for sending in senders for action in sending.result()]

    assert actions == ["recorded"] * 70 * BATCHES * SENDERS
    assert peak_bytes(fleetlog.pid) - before < 150 * MIB
    for run_id in run_ids:
        run = fleetlog.ok("GET", f"/api/runs/{run_id}")
        assert run["seq"] == 1 + 70 * BATCHES
        fleetlog.ok("POST", f"/api/runs/{run_id}/stop")

"""Draining the queue on request: with no worker that claims runs, the drain itself works them to their end."""

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from infrastructure.embedded.object_store import ObjectStoreAccess
from tests.support.fleetlog_parts import installation
from tests.support.fleetlog_server import FleetlogServer

pytestmark = pytest.mark.proof


HOUR_MS = 3_600_000


@pytest.fixture
def api(tmp_path_factory: pytest.TempPathFactory, database: str, bucket: ObjectStoreAccess) -> Iterator[FleetlogServer]:
    """Its worker performs effects, and leaves the queue alone."""
    with installation(tmp_path_factory.mktemp("parts"), database, bucket) as parts:
        parts.worker("tests.support.worker_without_runs")
        yield parts.api


def drained(api: FleetlogServer, **body: Any) -> dict[str, int]:
    answer = api.ok("POST", "/api/runs/queue/drain", json=body, params={"waitMs": 60_000})
    return {name: count for name, count in answer.items() if name != "position"}


def test_a_drain_works_as_many_due_runs_as_it_may_and_counts_what_became_of_them(api: FleetlogServer) -> None:
    good, bad = api.enqueued("echo x"), api.enqueued("exit 3")
    again = api.enqueued("exit 3", retryPolicy="always")
    unwanted = api.enqueued("echo up; sleep 600")
    beyond = api.enqueued("echo later")
    assert api.ok("GET", f"/api/runs/queue/{beyond}")["maxAttempts"] == 5
    assert [api.ok("GET", f"/api/runs/{run}")["state"] for run in (good, bad, again, unwanted)] == ["queued"] * 4

    def cancel() -> None:
        api.until(unwanted, "message.delta")
        api.ok("POST", f"/api/runs/{unwanted}/stop")

    canceling = threading.Thread(target=cancel)
    canceling.start()
    counts = drained(api, owner="drainer", limit=4, retryDelayMs=HOUR_MS)
    canceling.join(60)

    assert counts == {"claimed": 4, "succeeded": 1, "failed": 1, "retried": 1, "canceled": 1}
    states = [api.ok("GET", f"/api/runs/{run}")["state"] for run in (good, bad, again, unwanted, beyond)]
    assert states == ["succeeded", "failed", "queued", "canceled", "queued"]
    assert {event(api, run, "run.claimed")["payload"]["owner"] for run in (good, bad, again, unwanted)} == {"drainer"}
    scheduled = event(api, again, "run.retry_scheduled")
    wait = datetime.fromisoformat(scheduled["payload"]["availableAt"]) - datetime.fromisoformat(scheduled["occurredAt"])
    assert timedelta(minutes=59) < wait <= timedelta(minutes=72)
    assert drained(api) == {"claimed": 1, "succeeded": 1, "failed": 0, "retried": 0, "canceled": 0}
    assert drained(api)["claimed"] == 0  # the retry is not due


def event(api: FleetlogServer, run_id: str, kind: str) -> dict[str, Any]:
    events = api.ok("GET", f"/api/streams/run:{run_id}/events")["events"]
    return dict(next(each for each in events if each["type"] == kind))

"""`/metrics` of a worker without the API."""

import hashlib

import httpx
import pytest

from application.observation.instruments import RUN_TAKEOVERS
from infrastructure.executor_client.directory import HttpExecutorDirectory
from infrastructure.operations.measured import PrometheusMeasurements
from infrastructure.operations.metrics import WorkerMetrics
from interfaces.http.edge.auth import KeyHash
from interfaces.http.edge.metrics import RequestMetrics
from interfaces.http.worker_metrics import create_metrics_app
from tests.support.async_run import run

KEYS = (KeyHash(name="scraper", sha256=hashlib.sha256(b"key").hexdigest()),)


def answer(
    path: str = "/metrics", keys: tuple[KeyHash, ...] = (), method: str = "GET", **headers: str
) -> httpx.Response:
    measured = PrometheusMeasurements()
    measured.add(RUN_TAKEOVERS, value=3, trace_id="a" * 32)
    app = create_metrics_app(RequestMetrics(measured.registry), WorkerMetrics(HttpExecutorDirectory(b"secret")), keys)

    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, path, headers=headers)

    return run(asked())


def test_it_serves_what_the_process_has_counted() -> None:
    assert "fleetlog_run_takeovers_total 3.0" in answer().text


def test_it_serves_what_no_other_process_knows() -> None:
    assert 'fleetlog_executor_circuits{state="open"} 0.0' in answer().text


def test_a_scraper_that_asks_for_open_metrics_gets_trace_ids() -> None:
    text = answer(accept="application/openmetrics-text; version=1.0.0").text

    assert f'fleetlog_run_takeovers_total 3.0 # {{trace_id="{"a" * 32}"}}' in text
    assert text.endswith("# EOF\n")


@pytest.mark.parametrize(
    ("headers", "status"), [({}, 401), ({"authorization": "Bearer no"}, 401), ({"authorization": "Bearer key"}, 200)]
)
def test_where_there_are_keys_it_asks_for_one(headers: dict[str, str], status: int) -> None:
    assert answer(keys=KEYS, **headers).status_code == status


@pytest.mark.parametrize(("path", "method", "status"), [("/api/runs", "GET", 404), ("/metrics", "POST", 405)])
def test_it_has_nothing_else(path: str, method: str, status: int) -> None:
    refused = answer(path, method=method)

    assert refused.status_code == status
    assert refused.json()["traceId"] == refused.headers["x-trace-id"]

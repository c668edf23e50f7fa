"""Every query of the Grafana dashboard in the documentation is answered with data by a real Prometheus that has scraped
a busy server."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from domain.identifiers import container_name
from tests.support.dashboard_queries import OUTAGES, as_grafana_asks, queries
from tests.support.fault_proxy import FaultProxy
from tests.support.fleetlog_parts import on_database
from tests.support.fleetlog_server import FleetlogServer, new_id
from tests.support.otlp_collector import OtlpCollector
from tests.support.prometheus_programs import required_prometheus
from tests.support.prometheus_server import PrometheusServer, scraping
from tests.support.servers import shared_postgres
from tests.support.user_projection import ProjectCommand

pytestmark = [pytest.mark.proof, pytest.mark.timeout(300)]

WITHOUT_DATA = {
    OUTAGES: "nothing is down here; test_alerts.py asks it while something is",
}
"""Queries that this server can't answer with data, and why."""
SETTINGS = {
    "EXECUTOR_MAX_RETRIES": "1",
    "EXECUTOR_RETRY_DELAY_MS": "20",
    "RUN_QUEUE_RETRY_DELAY_MS": "100",
    "STALE_SYNC_AFTER_MS": "1",
    "OTEL_BSP_SCHEDULE_DELAY": "100",
    "OTEL_BLRP_SCHEDULE_DELAY": "100",
    "OTEL_METRIC_EXPORT_INTERVAL": "300",
}
INTERACTIVE = {"providerOptions": {"interactive": True}}


def line(**event: object) -> str:
    return f"echo '::fleetlog {json.dumps(event)}'"


USAGE = line(type="usage", inputTokens=70, outputTokens=7, cachedInputTokens=5, costUsd=0.25)
QUESTION = line(type="question", questionId="q", prompt="Go on?") + '; read -r answer; echo "$answer"'


class ProxiedFleetlog(FleetlogServer):
    module = "tests.support.proxied_fleetlog"


@dataclass
class Busy:
    """A server with runs of all kinds, what scrapes it, and the traces of the requests for runs that succeeded."""

    server: FleetlogServer
    executors: FaultProxy
    prometheus: PrometheusServer
    traces: set[str] = field(default_factory=set)

    def round_of_runs(self) -> None:
        """A run that is tried again, alone; then at once runs that succeed, fail, are canceled, and ask."""
        self.repeated()
        steps = (self.succeeded, self.succeeded, self.failed, self.canceled, self.asked)
        with ThreadPoolExecutor(len(steps)) as pool:
            for done in [pool.submit(step) for step in steps]:
                done.result(120)
        self.repaired()

    def succeeded(self) -> None:
        session = new_id("session")
        body = self.server.run_body(f"head -c 20000 /dev/urandom > file; {USAGE}", sessionId=session)
        answer = self.server.client.post("/api/runs/start", json=body)
        assert answer.json()["snapshot"]["state"] == "succeeded", answer.text
        self.traces.add(answer.headers["x-trace-id"])
        (self.server.worker_folder(session) / "workspace/file").write_text("changed after the run")
        self.server.ok("POST", f"/api/session-workers/{session}/stop")

    def failed(self) -> None:
        assert self.server.finished("exit 3")["snapshot"]["state"] == "failed"

    def canceled(self) -> None:
        run_id = self.server.enqueued("echo begun; sleep 600")
        self.server.until(run_id, "message.delta")
        self.server.ok("POST", f"/api/runs/{run_id}/stop")
        assert self.server.history(run_id)[-1]["data"]["outcome"] == "canceled"

    def asked(self) -> None:
        run_id = self.server.enqueued(QUESTION, **INTERACTIVE)
        self.server.until(run_id, "human_loop.requested")
        reply = {"runId": run_id, "questionId": "q", "answer": "yes"}
        self.server.ok("POST", "/api/human-loop/reply", json=reply)
        assert self.server.history(run_id)[-1]["data"]["outcome"] == "succeeded"

    def repeated(self) -> None:
        """An effect and a run whose executor answers 500, to a call and to its repetition."""
        session = new_id("session")
        with (
            self.executors.fault("POST /workspace/link-agent-data", "answer", times=2),
            self.executors.fault("POST /provider-runs/start", "answer", times=2),
        ):
            run_id = self.server.enqueued("echo at last", sessionId=session)
            history = self.server.history(run_id)
        assert history[-1]["data"]["outcome"] == "succeeded", history[-1]
        assert "run.retry_scheduled" in [frame["event"] for frame in history]

    def repaired(self) -> None:
        """A sync that is too old is requested again."""
        while self.server.ok("POST", "/api/reconcile/sync")["acted"] == 0:
            pass


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Busy]:
    required_prometheus()
    folder, dsn = tmp_path_factory.mktemp("busy"), shared_postgres().create_log()
    (folder / "project").mkdir()
    with ExitStack() as stack:
        executors = stack.enter_context(FaultProxy())
        collector = stack.enter_context(OtlpCollector())
        server = ProxiedFleetlog(
            folder / "fleetlog/home",
            **on_database(dsn),
            **SETTINGS,
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            TEST_EXECUTOR_PROXY=executors.url,
        )
        stack.enter_context(server)
        target = f"127.0.0.1:{server.port}"
        prometheus = stack.enter_context(PrometheusServer(folder / "prometheus", scraping(target)))
        stack.enter_context(ProjectCommand(dsn, folder / "project"))
        found = Busy(server, executors, prometheus)
        given_up(server)
        server.until(server.enqueued(QUESTION, **INTERACTIVE), "human_loop.requested")  # and nobody answers
        with server.client.stream("GET", "/api/events", headers={"accept": "text/event-stream"}):
            found.round_of_runs()
            prometheus.until_scraped(target)  # a counter's first number is no rate
            collector.refuses = True
            found.round_of_runs()
            for needed in (
                "fleetlog_open_questions > 0",
                'fleetlog_effects{state="dead"} > 0',
                "fleetlog_user_projection_lag_seconds",
                "fleetlog_telemetry_dropped_total > 0",
                'fleetlog_projection_lag_events{projection="observation"} == 0',
            ):
                prometheus.until_true(needed)
            collector.refuses = False
            prometheus.until_scraped(target)
            yield found


def given_up(server: FleetlogServer) -> None:
    """Want an effect that never succeeds."""
    session = new_id("session")
    (server.home / "workers" / container_name(session, 1)).write_text("in the way of the worker's folder")
    body = {"appId": "app", "userLoginName": "ada"}
    server.ok("POST", f"/api/session-workers/{session}/activate", params={"waitMs": 0}, json=body)


def test_every_query_of_the_dashboard_is_answered_with_data(busy: Busy) -> None:
    empty = []
    for panel, expression in queries():
        series = busy.prometheus.query(as_grafana_asks(expression))
        if not any(one["value"][1] != "NaN" for one in series):
            empty.append((panel, expression))

    assert [expression for _, expression in empty] == list(WITHOUT_DATA), empty


@pytest.mark.parametrize(
    ("expression", "label", "values"),
    [
        ("fleetlog_runs_finished_total", "outcome", {"succeeded", "failed", "canceled"}),
        ("fleetlog_tokens_total", "kind", {"input", "output", "cached_input"}),
        ("fleetlog_run_phase_seconds_count", "phase", {"queued", "claimed", "running", "syncing"}),
        ("fleetlog_telemetry_exported_total", "signal", {"traces", "metrics", "logs"}),
    ],
)
def test_the_server_was_busy(busy: Busy, expression: str, label: str, values: set[str]) -> None:
    assert values <= {series["metric"][label] for series in busy.prometheus.query(expression)}


def test_prometheus_keeps_the_traces_that_made_a_number(busy: Busy) -> None:
    found = busy.prometheus.exemplars("fleetlog_run_seconds_bucket")

    kept = {exemplar["labels"]["trace_id"] for series in found for exemplar in series["exemplars"]}
    assert kept & busy.traces

"""A log line, a metric and a trace tell the same story with the same ids: of a run whose control plane was killed,
which was taken over, and which failed."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.fleetlog_parts import on_shared_postgres
from tests.support.fleetlog_server import FleetlogServer
from tests.support.otlp_collector import OtlpCollector
from tests.support.repair_lines import lines_of, repaired

pytestmark = pytest.mark.proof
TRACE, CALLER_SPAN = "7bf92f3577b34da6a3ce929d0e0e4731", "00f067aa0ba902b7"
REQUEST = "POST /api/runs/queue/enqueue"
SCRIPT = "echo begun; until [ -e go ]; do sleep 0.05; done; exit 3"
ENDED = "run r has ended: failed"
PATIENCE_S = 60


@dataclass(frozen=True)
class Story:
    server: FleetlogServer
    collector: OtlpCollector

    @property
    def events(self) -> list[dict[str, Any]]:
        return list(self.server.ok("GET", "/api/streams/run:r/events", params={"limit": 500})["events"])

    def event(self, type_: str) -> dict[str, Any]:
        """The last of this type."""
        return [event for event in self.events if event["type"] == type_][-1]

    def spans(self, name: str) -> list[dict[str, Any]]:
        return sorted(
            (span for span in self.collector.of_trace(TRACE) if span["name"] == name), key=lambda span: span["start"]
        )

    def lines(self, message: str) -> list[dict[str, Any]]:
        """What the server has written."""
        return [line for line in lines_of(self.server.home.parent / "server.log") if line["message"] == message]

    def exported(self, message: str) -> list[dict[str, Any]]:
        """What the collector has got."""
        return [record for record in self.collector.logs if record["body"] == message]

    def exemplar(self, series: str) -> str:
        """The trace id beside a counter at /metrics, once it has counted."""
        accept = {"accept": "application/openmetrics-text; version=1.0.0"}
        pattern = re.compile(rf'^{re.escape(series)} 1\.0 # \{{trace_id="(\w+)"\}}', re.MULTILINE)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            served = self.server.client.get("/metrics", headers=accept).text
            if found := pattern.search(served):
                return found[1]
            told = [line for line in served.splitlines() if line.startswith(series.partition("{")[0])]
            assert time.monotonic() < deadline, (series, told)
            time.sleep(0.05)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with OtlpCollector() as collector:
        server = FleetlogServer(
            tmp_path_factory.mktemp("story") / "home",
            **on_shared_postgres(),
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            OTEL_BSP_SCHEDULE_DELAY="100",
            OTEL_BLRP_SCHEDULE_DELAY="100",
            RUN_QUEUE_LOCK_MS="3000",
        )
        with server:
            body = server.run_body(SCRIPT, runId="r", sessionId="s", maxAttempts=1)
            headers = {"traceparent": f"00-{TRACE}-{CALLER_SPAN}-01"}
            assert server.client.post("/api/runs/queue/enqueue", json=body, headers=headers).is_success
            server.until("r", "message.delta")
            collector.until(lambda got: any(record["body"] == REQUEST for record in got.logs))
            server.kill()
            server.start()
            repaired(server, "stale_run")
            (server.worker_folder("s") / "workspace/go").touch()
            assert server.history("r")[-1]["data"]["outcome"] == "failed"
            collector.until(
                lambda got: (
                    {"run.finished", "invoke_agent scripted"} <= {span["name"] for span in got.of_trace(TRACE)}
                    and any(record["body"] == ENDED for record in got.logs)
                )
            )
            yield Story(server, collector)


def test_one_trace_id_is_in_the_lines_the_events_the_spans_the_exports_and_the_exemplar_of_a_failed_run(
    story: Story,
) -> None:
    error_class = story.event("run.finished")["payload"]["error"]["errorClass"]
    counter = f'fleetlog_runs_finished_total{{error_class="{error_class}",outcome="failed",provider="scripted"}}'

    assert [line["traceId"] for line in story.lines(REQUEST)] == [TRACE]
    assert [(line["traceId"], line["runId"]) for line in story.lines(ENDED)] == [(TRACE, "r")]
    assert {event["metadata"]["traceId"] for event in story.events} == {TRACE}
    assert [span["parent_id"] for span in story.spans(REQUEST)] == [CALLER_SPAN]
    for message in (REQUEST, ENDED):
        assert [record["trace_id"] for record in story.exported(message)] == [TRACE], message
    assert story.exemplar(counter) == TRACE


def test_one_error_class_is_in_the_event_the_snapshot_the_line_the_export_and_the_spans(story: Story) -> None:
    error_class = story.event("run.finished")["payload"]["error"]["errorClass"]
    (line,), (record,), (agent,) = story.lines(ENDED), story.exported(ENDED), story.spans("invoke_agent scripted")

    assert story.server.ok("GET", "/api/runs/r")["error"]["errorClass"] == error_class
    assert (line["outcome"], line["errorClass"]) == ("failed", error_class)
    assert record["attributes"]["errorClass"] == error_class
    assert agent["error"] == error_class
    assert story.spans("run.execute")[-1]["error"] == error_class


def test_the_line_of_a_span_names_it(story: Story) -> None:
    (line,), (record,) = story.lines(ENDED), story.exported(ENDED)

    assert line["spanId"] == record["span_id"] == story.spans("run.execute")[-1]["span_id"]


def test_the_command_line_shows_the_same_ids(story: Story) -> None:
    finished = story.event("run.finished")
    tree = json.loads(story.server.command("why", str(finished["position"]), "--json"))["tree"]
    read = json.loads(story.server.command("logs", "--worker", "s", "--json"))

    assert trace_ids(tree) == {TRACE}
    starts = [line for line in read["lines"] if line["message"].startswith("POST /provider-runs/start")]
    assert [(line["traceId"], line["runId"]) for line in starts] == [(TRACE, "r")]


def trace_ids(node: dict[str, Any]) -> set[str]:
    """Of a tree of causes."""
    own = {node["traceId"]} if node.get("traceId") else set()
    return own.union(*(trace_ids(child) for child in node.get("children", ())))


def test_a_repair_is_one_line_one_count_and_one_lease_in_the_trace_of_the_run(story: Story) -> None:
    (line,) = repaired(story.server, "stale_run")
    (record,) = story.exported(line["message"])
    before, after = story.spans("run.execute")
    claim = story.event("run.claimed")

    assert (line["runId"], line["traceId"], claim["metadata"]["traceId"]) == ("r", TRACE, TRACE)
    assert (record["trace_id"], record["attributes"]["repair"]) == (TRACE, "stale_run")
    assert story.exemplar('fleetlog_repairs_total{kind="stale_run"}') == TRACE
    assert story.exemplar("fleetlog_run_takeovers_total") == TRACE
    assert before["error"] == "lease_taken_over"
    lease = "fleetlog.lease.generation"
    assert line["leaseGeneration"] == after["attributes"][lease] == claim["payload"]["leaseGeneration"]
    assert line["takenFrom"] == before["attributes"]["fleetlog.lease.owner"]
    (finding,) = story.server.ok("GET", "/api/streams/reconcile:runs/events")["events"]
    assert finding["eventId"] == f"{line['commandId']}/runs"
    assert finding["payload"]["subjects"] == ["r"]

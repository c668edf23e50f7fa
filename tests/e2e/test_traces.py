"""What a collector gets of a run, over a killed and restarted control plane: one trace, the numbers of /metrics, and
log lines with the same ids."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.fleetlog_server import FleetlogServer, new_id
from tests.support.otlp_collector import OtlpCollector
from tests.support.user_projection import until

pytestmark = pytest.mark.proof
CALLER_TRACE, CALLER_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def line(**event: object) -> str:
    return f"echo '::fleetlog {json.dumps(event)}'"


SCRIPT = "; ".join(
    [
        "echo thinking",
        line(type="tool.start", toolId="t", name="shell"),
        "for n in $(seq 1 30); do echo $n; sleep 0.1; done",
        line(type="tool.end", toolId="t", output="done", ok=True),
        line(type="usage", inputTokens=70, outputTokens=7, costUsd=0.25),
        line(type="message.stop"),
    ]
)


@pytest.fixture(scope="module")
def collector() -> Iterator[OtlpCollector]:
    with OtlpCollector() as collector:
        yield collector


@pytest.fixture(scope="module")
def run_id() -> str:
    return new_id("run")


@pytest.fixture(scope="module")
def fleetlog(
    collector: OtlpCollector, run_id: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FleetlogServer]:
    """A server that was killed in the middle of a run of a traced caller, started again, and has ended the run."""
    server = FleetlogServer(
        tmp_path_factory.mktemp("traced") / "home",
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_SERVICE_NAME="fleet-of-the-test",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test",
        OTEL_BSP_SCHEDULE_DELAY="100",
        OTEL_BLRP_SCHEDULE_DELAY="100",
        OTEL_METRIC_EXPORT_INTERVAL="300",
        FLEETLOG_LOG_LEVEL="debug",
    )
    with server:
        headers = {"traceparent": f"00-{CALLER_TRACE}-{CALLER_SPAN}-01"}
        body = server.run_body(SCRIPT, runId=run_id, sessionId="s")
        assert server.client.post("/api/runs/queue/enqueue", json=body, headers=headers).is_success
        server.until(run_id, "tool.start")
        collector.until(lambda got: any(span["name"] == "executor run.follow" for span in got.spans))
        server.kill()
        server.start()
        assert server.history(run_id)[-1]["data"]["outcome"] == "succeeded"
        collector.until_traced(CALLER_TRACE, "run.finished", "effect workspace.sync")
        collector.until(
            lambda got: any(each["attributes"].get("program") == "executor" for each in got.logs), timeout_s=90
        )
        yield server


@pytest.fixture(scope="module")
def trace(fleetlog: FleetlogServer, collector: OtlpCollector) -> list[dict[str, Any]]:
    return collector.of_trace(CALLER_TRACE)


def named(trace: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [span for span in trace if span["name"] == name]


def ancestors(trace: list[dict[str, Any]], span: dict[str, Any]) -> list[str]:
    by_id = {each["span_id"]: each for each in trace}
    names = []
    while (span := by_id.get(span["parent_id"], {})) and len(names) < 100:
        names.append(span["name"])
    return names


def test_one_trace_leads_from_the_callers_request_to_the_model_turn(trace: list[dict[str, Any]]) -> None:
    (turn, *_) = named(trace, "chat none")

    assert ancestors(trace, turn) == [
        "invoke_agent scripted",
        "run.execute",
        "run.queued",
        "command run.queued",
        "POST /api/runs/queue/enqueue",
    ]
    (request,) = named(trace, "POST /api/runs/queue/enqueue")
    assert request["parent_id"] == CALLER_SPAN


def test_what_the_killed_process_had_begun_and_what_the_next_one_ended_are_one_trace(
    trace: list[dict[str, Any]], run_id: str
) -> None:
    first, second = sorted(named(trace, "run.execute"), key=lambda span: span["start"])

    assert (first["error"], second["error"]) == ("lease_taken_over", "")
    assert first["parent_id"] == second["parent_id"]
    (agent,) = named(trace, "invoke_agent scripted")
    assert agent["parent_id"] == first["span_id"]
    assert agent["start"] < second["start"] < agent["end"]
    (finished,) = named(trace, "run.finished")
    assert finished["parent_id"] == second["span_id"]
    assert finished["attributes"]["fleetlog.event.stream"] == f"run:{run_id}"


def test_every_span_but_the_callers_has_its_parent_in_the_trace(trace: list[dict[str, Any]]) -> None:
    known = {span["span_id"] for span in trace} | {CALLER_SPAN}

    assert [span["name"] for span in trace if span["parent_id"] not in known] == []


def test_it_holds_the_effects_that_the_run_needed_with_their_calls_of_the_executor(
    trace: list[dict[str, Any]],
) -> None:
    (call,) = named(trace, "executor workspace.restore")

    assert ancestors(trace, call)[:4] == [
        "workspace.restore attempt 1",
        "effect workspace.restore",
        "session.container_started",
        "effect container.start",
    ]
    assert call["kind"] == "client"
    assert call["attributes"]["http.response.status_code"] == 200
    assert {"container.create", "container.start", "workspace.restore", "agent_data.link", "workspace.validate"} <= {
        span["attributes"].get("fleetlog.effect.kind") for span in trace
    }


def test_the_agent_its_tools_and_its_model_follow_the_genai_conventions(
    trace: list[dict[str, Any]], collector: OtlpCollector
) -> None:
    (agent,), (tool,) = named(trace, "invoke_agent scripted"), named(trace, "execute_tool shell")

    assert (
        agent["attributes"]
        | {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": "scripted",
            "gen_ai.provider.name": "scripted",
            "gen_ai.usage.input_tokens": 70,
            "gen_ai.usage.output_tokens": 7,
            "fleetlog.cost_usd": 0.25,
            "process.exit.code": 0,
        }
        == agent["attributes"]
    )
    assert tool["parent_id"] == agent["span_id"]
    assert tool["attributes"]["gen_ai.tool.call.id"] == "t"
    assert tool["end"] - tool["start"] >= 2_000_000_000
    assert collector.schema_urls == {"https://opentelemetry.io/schemas/1.40.0"}


def test_the_origin_is_what_the_standard_variables_say(fleetlog: FleetlogServer, collector: OtlpCollector) -> None:
    assert {resource["service.name"] for resource in collector.resources} == {"fleet-of-the-test"}
    assert {resource["deployment.environment.name"] for resource in collector.resources} == {"test"}


def of_outcome(point: Any) -> str:
    return next(str(pair.value.string_value) for pair in point.attributes if pair.key == "outcome")


def test_the_exported_metrics_are_those_of_the_scrape(fleetlog: FleetlogServer, collector: OtlpCollector) -> None:
    def finished(got: OtlpCollector) -> bool:
        metric = got.metrics.get("fleetlog_runs_finished_total")
        return metric is not None and any(of_outcome(point) == "succeeded" for point in metric.sum.data_points)

    collector.until(finished)
    points = collector.metrics["fleetlog_run_seconds"].histogram.data_points
    (seconds,) = [point for point in points if of_outcome(point) == "succeeded"]
    (exemplar, *_) = seconds.exemplars

    assert exemplar.trace_id.hex() == CALLER_TRACE
    assert sum(seconds.bucket_counts) == seconds.count == 1
    assert len(seconds.bucket_counts) == len(seconds.explicit_bounds) + 1
    served = fleetlog.client.get("/metrics").text
    types = [text.split() for text in served.splitlines() if text.startswith("# TYPE")]
    assert {name for _, _, name, _ in types} <= collector.metrics.keys()


def test_log_lines_of_the_control_plane_and_of_the_executor_name_the_trace(
    fleetlog: FleetlogServer, collector: OtlpCollector, run_id: str
) -> None:
    of_trace = [each for each in collector.logs if each["trace_id"] == CALLER_TRACE]
    of_executor = [each for each in of_trace if each["attributes"].get("program") == "executor"]

    assert any(each["body"].startswith("POST /provider-runs/start") for each in of_executor)
    assert {each["attributes"]["sessionId"] for each in of_executor} == {"s"}
    assert any(each["body"] == "POST /api/runs/queue/enqueue" for each in of_trace)


def test_the_log_of_an_executor_can_be_read_by_its_session(fleetlog: FleetlogServer, run_id: str) -> None:
    read = json.loads(fleetlog.command("logs", "--worker", "s", "--json"))

    of_start = [each for each in read["lines"] if each["message"].startswith("POST /provider-runs/start")]
    assert [(each["traceId"], each["runId"], each["operation"]) for each in of_start] == [
        (CALLER_TRACE, run_id, "run.start")
    ]
    assert "POST /provider-runs/start" in fleetlog.command("logs", "--worker", "s")


def test_of_an_ended_executor_the_end_of_its_output_is_read(fleetlog: FleetlogServer) -> None:
    session = "/api/session-workers/ended"
    fleetlog.ok("POST", f"{session}/activate", json={"appId": "a", "userLoginName": "ada"})
    fleetlog.ok("POST", f"{session}/stop")

    read = json.loads(fleetlog.command("logs", "--worker", "ended", "--json"))

    assert any("ending" in each["message"] for each in read["lines"])


def test_a_collector_that_is_away_holds_nothing_up_and_what_is_lost_is_counted(
    fleetlog: FleetlogServer, collector: OtlpCollector
) -> None:
    dropped = 'fleetlog_telemetry_dropped_total{reason="export_failed",signal="traces"}'
    collector.refuses = True
    try:
        ended = fleetlog.finished("exit 1", sessionId="other")  # no other test of this module counts failed runs
        assert ended["snapshot"]["state"] == "failed"
        until(lambda: dropped in fleetlog.client.get("/metrics").text)
    finally:
        collector.refuses = False

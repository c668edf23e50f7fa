"""The alert rules of the documentation are about metrics that are there, and that say what the rules take them for."""

import re
from pathlib import Path

import pytest

from tests.support.fleetlog_server import FleetlogServer

PAGE = Path(__file__).resolve().parents[2] / "docs/how-to/alerts.md"
RULE = re.compile(
    r"^ {6}- alert: (?P<alert>Fleetlog\w+)\n {8}expr: (?P<expr>.+)\n(?: {8}for: \d+[smh]\n)?"
    r" {8}annotations: \{summary: \".+\"\}\n",
    re.MULTILINE,
)
SELECTOR = re.compile(r"(?P<metric>fleetlog_\w+)(?:\{(?P<label>\w+)=\"(?P<value>\w+)\"\})?")


def rules() -> dict[str, str]:
    """The expression of each alert."""
    text = PAGE.read_text(encoding="utf-8")
    found = {match["alert"]: match["expr"] for match in RULE.finditer(text)}
    assert len(found) == text.count("- alert:"), "a rule is not written as the others are"
    return found


def samples(server: FleetlogServer) -> dict[str, float]:
    """Each series of /metrics with its value."""
    lines = server.client.get("/metrics").text.splitlines()
    return {series: float(value) for series, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}


@pytest.mark.parametrize(
    "metric",
    [
        "fleetlog_projection_lag_seconds",
        "fleetlog_effects",
        "fleetlog_failed_sync_workers",
        "fleetlog_expired_run_leases",
        "fleetlog_open_questions",
        "fleetlog_executor_circuits",
        "fleetlog_outages",
        "fleetlog_worker_processes",
    ],
)
def test_there_is_a_rule_for(metric: str) -> None:
    assert any(metric in expression for expression in rules().values())


def test_every_metric_of_the_rules_is_served_with_its_labels(shared_fleetlog: FleetlogServer) -> None:
    shared_fleetlog.finished("echo hello")
    text = shared_fleetlog.client.get("/metrics").text
    served = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))

    for alert, expression in rules().items():
        for selector in SELECTOR.finditer(expression):
            assert selector["metric"] in served, alert
            series = re.findall(rf"^{selector['metric']}(\{{.*\}})? ", text, re.MULTILINE)
            assert not series or selector["label"] is None or all(f"{selector['label']}=" in one for one in series), (
                alert
            )


def test_the_metrics_of_the_rules_tell_of_questions_and_circuits(shared_fleetlog: FleetlogServer) -> None:
    question = """echo '::fleetlog {"type": "question", "questionId": "q", "prompt": "?"}'; read -r answer"""
    run_id = shared_fleetlog.enqueued(question, providerOptions={"interactive": True})
    position = shared_fleetlog.until(run_id, "human_loop.requested")[-1]["data"]["position"]
    shared_fleetlog.ok("GET", "/api/human-loop/pending", params={"minPosition": position})

    asked = samples(shared_fleetlog)

    assert asked['fleetlog_projection_lag_events{projection="event-index"}'] >= 0
    assert asked['fleetlog_projection_lag_seconds{projection="event-index"}'] >= 0
    assert asked["fleetlog_open_questions"] >= 1
    assert asked["fleetlog_worker_processes"] == 1
    assert asked['fleetlog_executor_circuits{state="closed"}'] >= 1
    assert {f'fleetlog_executor_circuits{{state="{state}"}}' for state in ("open", "half_open")} <= set(asked)
    shared_fleetlog.ok("POST", f"/api/runs/{run_id}/stop")
    shared_fleetlog.history(run_id)

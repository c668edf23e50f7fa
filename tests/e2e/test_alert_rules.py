"""The alert rules of the documentation are about metrics that are there, and that say what the rules take them for.
They load, with the configurations beside them, and fire when they say."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.alert_rules import ALERTS, OBSERVE, block, rules, rules_file, told_in_the_table
from tests.support.fleetlog_server import FleetlogServer
from tests.support.prometheus_programs import AMTOOL, PROMTOOL, checked, required_prometheus

SELECTOR = re.compile(r"(?P<metric>fleetlog_\w+)(?:\{(?P<label>\w+)=\"(?P<value>\w+)\"\})?")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the files of the pages, as an operator would save them."""
    required_prometheus()
    prometheus = block(ALERTS, "rule_files") + block(OBSERVE, "scrape_configs")
    (tmp_path / "prometheus.yml").write_text(prometheus.replace("/etc/prometheus", str(tmp_path)), encoding="utf-8")
    (tmp_path / "fleetlog.rules.yml").write_text(rules_file(), encoding="utf-8")
    (tmp_path / "alertmanager.yml").write_text(block(ALERTS, "route"), encoding="utf-8")
    (tmp_path / "fleetlog-key").write_text("key", encoding="utf-8")
    return tmp_path


def test_prometheus_and_the_alertmanager_take_the_files_of_the_pages(folder: Path) -> None:
    assert f"SUCCESS: {len(rules())} rules found" in checked(PROMTOOL, "check", "rules", folder / "fleetlog.rules.yml")
    assert "1 rule files found" in checked(PROMTOOL, "check", "config", folder / "prometheus.yml")
    assert "SUCCESS" in checked(AMTOOL, "check-config", folder / "alertmanager.yml")


def test_the_page_says_of_each_alert_what_to_do() -> None:
    assert sorted(told_in_the_table()) == sorted(rules())
    assert [rule.name for rule in rules().values() if not re.search(r"[:?] ?\S|\?$", rule.summary)] == []


FIRING: dict[str, tuple[str, str, str, str, str]] = {
    # alert: series, its values by half minutes, when it does not fire yet, when it does, what it says
    "FleetlogDown": ('up{job="fleetlog", instance="a"}', "1 0x9", "1m", "2m", "a does not answer Prometheus"),
    "FleetlogBlind": ("fleetlog_worker_processes", "1 _x30", "1m", "9m", "no API process tells"),
    "FleetlogNobodyWorks": ("fleetlog_worker_processes", "1 0x9", "1m", "2m", "no `worker` process is alive"),
    "FleetlogOutage": ('fleetlog_outages{dependency="docker"}', "0 2x9", "1m", "2m", "docker is down for 2 processes"),
    "FleetlogExecutorsUnreachable": (
        'fleetlog_executor_circuits{state="open"}', "0 3x2 0x6 3 0x6 3 0x9", "9m", "11m", "3 executors",
    ),
    "FleetlogRunsStuck": ("fleetlog_expired_run_leases", "0 2x9", "2m", "3m", "2 runs are stale"),
    "FleetlogRunsWait": ("fleetlog_oldest_due_run_seconds", "0 90x9", "2m", "3m", "has waited for 1m 30s"),
    "FleetlogSyncsFail": ("fleetlog_failed_sync_workers", "0 4x40", "10m", "11m", "4 session workers could not be"),
    "FleetlogQuestionsOpen": ("fleetlog_open_questions", "0 5x99", "30m", "31m", "5 questions wait for a person"),
    "FleetlogReadModelStopped": (
        'fleetlog_projection_stopped{projection="todos"}', "0 1x9", "0m", "1m", "todos stands still at an event",
    ),
    "FleetlogReadModelBehind": (
        'fleetlog_projection_lag_seconds{projection="runs"}', "0 61x9", "2m", "3m", "runs is 1m 1s behind the log",
    ),
    "FleetlogProcessManagerStopped": (
        'fleetlog_process_manager_stopped{process_manager="runs"}', "0 1x9", "0m", "1m", "runs stands still",
    ),
    "FleetlogProcessManagerBehind": (
        'fleetlog_process_manager_lag_seconds{process_manager="runs"}', "0 31x9", "2m", "3m", "runs is 31s behind",
    ),
    "FleetlogDeadLetters": ('fleetlog_effects{state="dead"}', "0 1x9", "0m", "1m", "1 dead letters wait"),
    "FleetlogEffectsWait": ("fleetlog_oldest_due_effect_seconds", "0 301x9", "0m", "1m", "has waited for 5m 1s"),
    "FleetlogQueuePaused": ("fleetlog_queue_paused", "0 1x200", "60m", "61m", "paused for an hour"),
    "FleetlogUserProjectionStopped": (
        'fleetlog_user_projection_stopped{projection="Mine"}', "0 1x9", "0m", "1m", "Mine, a user's own, stands still",
    ),
    "FleetlogUserProjectionCrashes": (
        'fleetlog_user_projection_restarts{projection="Mine"}', "0+1x40", "1m", "15m", "the process of Mine",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FIRING)
def test_an_alert_fires_after_its_time_and_says_what_to_do(folder: Path, name: str) -> None:
    series, values, before, after, said = FIRING[name]
    summary = rendered(name, series, values)
    assert said in summary
    labels = dict(re.findall(r'(\w+)="(\w+)"', series)) | {"severity": rules()[name].severity}
    inputs = [{"series": series, "values": values}]
    if name == "FleetlogRunsWait":
        inputs.append({"series": "fleetlog_queue_paused", "values": "0x20"})
    fires = {"exp_labels": labels, "exp_annotations": {"summary": summary}}

    promtool_finds(
        folder,
        inputs,
        {"eval_time": before, "alertname": name, "exp_alerts": []},
        {"eval_time": after, "alertname": name, "exp_alerts": [fires]},
    )


def test_each_alert_is_tried() -> None:
    assert sorted(FIRING) == sorted(rules())


@pytest.mark.parametrize(
    ("name", "series"),
    [
        ("FleetlogRunsWait", {"fleetlog_oldest_due_run_seconds": "90x20", "fleetlog_queue_paused": "1x20"}),
        ("FleetlogExecutorsUnreachable", {'fleetlog_executor_circuits{state="open"}': "0 1 0x50"}),
        ("FleetlogUserProjectionCrashes", {'fleetlog_user_projection_restarts{projection="Mine"}': "3x40"}),
    ],
    ids=["a paused queue", "one executor that died", "restarts of long ago"],
)
def test_an_alert_is_silent_about(folder: Path, name: str, series: dict[str, str]) -> None:
    inputs = [{"series": each, "values": values} for each, values in series.items()]
    times = ("1m", "5m", "8m")

    promtool_finds(folder, inputs, *({"eval_time": time, "alertname": name, "exp_alerts": []} for time in times))


def rendered(name: str, series: str, values: str) -> str:
    """The summary with the labels of the series, and the last of its values that is not 0."""
    text = rules()[name].summary
    for label, value in re.findall(r'(\w+)="(\w+)"', series):
        text = text.replace(f"{{{{ $labels.{label} }}}}", value)
    numbers = [int(each.partition("x")[0]) for each in values.split() if each[0].isdigit() and "+" not in each]
    value = next((each for each in reversed(numbers) if each), 0)
    minutes, seconds = divmod(value, 60)
    text = text.replace("{{ humanizeDuration $value }}", f"{minutes}m {seconds}s" if minutes else f"{seconds}s")
    text = text.replace("{{ $value }}", str(value))
    assert "{{" not in text
    return text


def promtool_finds(folder: Path, inputs: list[dict[str, str]], *expected: dict[str, Any]) -> None:
    test = {"interval": "30s", "input_series": inputs, "alert_rule_test": expected}
    file = folder / "tests.yml"
    file.write_text(json.dumps({"rule_files": ["fleetlog.rules.yml"], "evaluation_interval": "30s", "tests": [test]}))
    checked(PROMTOOL, "test", "rules", file)


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
    assert any(metric in rule.expression for rule in rules().values())


def test_every_metric_of_the_rules_is_served_with_its_labels(shared_fleetlog: FleetlogServer) -> None:
    shared_fleetlog.finished("echo hello")
    text = shared_fleetlog.client.get("/metrics").text
    served = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))

    for alert, rule in rules().items():
        for selector in SELECTOR.finditer(rule.expression):
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

"""The alert rules of the documentation name metrics that are there."""

import re
from pathlib import Path

from tests.support.fleetlog_server import FleetlogServer

RULES = Path(__file__).resolve().parents[2] / "docs/how-to/alerts.md"


def test_every_metric_of_the_alert_rules_is_served(shared_fleetlog: FleetlogServer) -> None:
    shared_fleetlog.finished("echo hello")
    served = set(re.findall(r"^# TYPE (\w+)", shared_fleetlog.client.get("/metrics").text, re.MULTILINE))

    named = set(re.findall(r"\bfleetlog_\w+", RULES.read_text(encoding="utf-8")))

    assert named - served == set()

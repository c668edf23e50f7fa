"""The queries of the Grafana dashboard in the documentation."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DASHBOARD = Path(__file__).resolve().parents[2] / "docs/dashboards/fleetlog.json"
OUTAGES = "sum by (dependency) (fleetlog_outages)"
"""The one of the panel about what is down."""
SCRAPED_EVERY_S = 15
"""What Grafana takes a Prometheus' interval for, if nobody tells it."""
VARIABLES = {"$__rate_interval": f"{4 * SCRAPED_EVERY_S}s"}
"""Grafana's own, as it replaces them in a panel of a few hours or less."""


def panels() -> list[dict[str, Any]]:
    return list(json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"])


def queries() -> Iterator[tuple[str, str]]:
    """Panel and expression."""
    for panel in panels():
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def as_grafana_asks(expression: str) -> str:
    """The expression with Grafana's variables replaced."""
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression, expression
    return expression

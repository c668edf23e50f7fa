"""The Grafana dashboard of the documentation asks for metrics and labels that a server serves."""

import re

import pytest

from application.observation.instruments import INSTRUMENTS, LABELS
from tests.support.dashboard_queries import panels, queries
from tests.support.fleetlog_server import FleetlogServer

SELECTOR = re.compile(r"(?P<metric>fleetlog_[a-z_]+)(?:\{(?P<label>\w+)!?=\"(?P<value>\w+)\"\})?")
GROUPED = re.compile(r"by \(([\w, ]+)\) \(+(?:\w+\()*(fleetlog_[a-z_]+)")
SUFFIX = re.compile(r"_(?:bucket|sum|count)$")


@pytest.fixture
def served(shared_fleetlog: FleetlogServer) -> dict[str, set[str]]:
    """The labels of each family that a busy server serves; of a gauge without series so far, all that there are."""
    used = """echo '::fleetlog {"type": "usage", "inputTokens": 7, "outputTokens": 1, "costUsd": 0.1}'"""
    shared_fleetlog.finished(used)
    text = shared_fleetlog.client.get("/metrics").text
    families = {name: set() for name in re.findall(r"^# TYPE (\w+)", text, re.MULTILINE)}
    for each in INSTRUMENTS:
        name = f"fleetlog_{each.name}{'_total' if each.kind == 'counter' else ''}"
        families[name] |= set(each.labels)
    for series, labels in re.findall(r"^(\w+)\{(.*)\} ", text, re.MULTILINE):
        name = series if series in families else SUFFIX.sub("", series)
        families[name] |= set(re.findall(r'(\w+)="', labels))
    return {name: labels or set(LABELS) for name, labels in families.items()}


def test_every_query_asks_for_what_is_served(served: dict[str, set[str]]) -> None:
    assert len(list(queries())) > 25
    for panel, expression in queries():
        selectors = list(SELECTOR.finditer(expression))
        assert selectors, panel
        for selector in selectors:
            name = selector["metric"] if selector["metric"] in served else SUFFIX.sub("", selector["metric"])
            assert name in served, (panel, selector["metric"])
            assert selector["label"] is None or selector["label"] in served[name], (panel, selector[0])


def test_every_query_groups_by_labels_that_its_metric_has(served: dict[str, set[str]]) -> None:
    for panel, expression in queries():
        for labels, metric in GROUPED.findall(expression):
            name = metric if metric in served else SUFFIX.sub("", metric)
            assert set(labels.split(", ")) - {"le"} <= served[name], (panel, expression)


def test_every_counter_and_histogram_is_on_the_dashboard() -> None:
    text = " ".join(expression for _, expression in queries())

    assert [each.name for each in INSTRUMENTS if f"fleetlog_{each.name}" not in text] == []


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    cells = [
        (x, y)
        for panel in panels()
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert len({panel["id"] for panel in panels()}) == len(panels())
    assert len(set(cells)) == len(cells)

"""What is measured has few, known labels; and what nobody asks for costs no import."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from application.observation.instruments import INSTRUMENTS, LABELS
from application.repairs.kinds import KINDS
from interfaces.http.edge.metrics import RequestMetrics
from tests.support.import_graph import REPOSITORY

GAUGES = REPOSITORY / "infrastructure/operations/metrics.py"
FORBIDDEN = {"user", "session", "run", "model", "message", "path", "id", "name", "app", "project", "tenant", "owner"}


def test_no_label_is_outside_of_the_list() -> None:
    assert {label for each in INSTRUMENTS for label in each.labels} <= LABELS


def test_the_list_has_no_users_sessions_or_free_text() -> None:
    assert [label for label in LABELS if FORBIDDEN & set(label.split("_"))] == []


def test_the_gauges_and_the_requests_have_no_others() -> None:
    tree = ast.parse(GAUGES.read_text(encoding="utf-8"))
    of_gauges = {
        key.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Tuple) and node.elts and isinstance(node.elts[0], ast.Dict)
        for key in node.elts[0].keys
        if isinstance(key, ast.Constant)
    }
    requests = RequestMetrics()
    requests.observe("GET", "/health", 200, 0.1)
    of_requests = {label for family in requests._registry.collect() for one in family.samples for label in one.labels}

    assert of_gauges
    assert of_gauges | of_requests - {"le"} <= LABELS


@pytest.mark.parametrize("name", [each.name for each in INSTRUMENTS])
def test_each_instrument_is_used_where_something_is_measured(name: str) -> None:
    constant = name.upper()
    users = [
        path
        for folder in ("application", "infrastructure", "interfaces")
        for path in (REPOSITORY / folder).rglob("*.py")
        if path.name != "instruments.py" and constant in path.read_text(encoding="utf-8")
    ]

    assert users


def test_nothing_of_opentelemetry_is_imported_but_where_it_is_asked_for() -> None:
    importers = {
        str(path.relative_to(REPOSITORY).parent)
        for folder in ("domain", "application", "projections", "infrastructure", "interfaces", "sql")
        for path in (REPOSITORY / folder).rglob("*.py")
        if "opentelemetry" in {_top(node) for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))}
    }

    assert importers == {"infrastructure/operations/otlp"}


def _top(node: ast.AST) -> str:
    match node:
        case ast.Import(names=[alias, *_]):
            return alias.name.partition(".")[0]
        case ast.ImportFrom(module=str(module)):
            return module.partition(".")[0]
        case _:
            return ""


def test_a_server_that_exports_nothing_loads_no_sdk() -> None:
    program = (
        "import sys, interfaces.cli.processes\n"
        "from interfaces.bootstrap.telemetry import telemetry\n"
        "with telemetry({}) as opened: pass\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'google'))])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True
    )

    assert ran.stdout.strip() == "[]"


def test_without_the_packages_the_error_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "opentelemetry.py").write_text("raise ImportError('not here')")
    program = (
        "from interfaces.bootstrap.telemetry import telemetry\n"
        "from interfaces.settings import SettingsError\n"
        "try:\n"
        "    with telemetry({'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://127.0.0.1:1'}): pass\n"
        "except SettingsError as error: print(error)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(REPOSITORY)!r}]\n{program}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert "pip install 'fleetlog[otel]'" in ran.stdout


def test_the_page_has_each_kind_of_repair_with_what_is_said_of_it() -> None:
    page = (REPOSITORY / "docs/how-to/observe.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \| `([^`]+)` \|$", page, re.MULTILINE)

    assert shown == [(each.kind, each.message) for each in KINDS]

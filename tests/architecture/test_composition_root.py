"""A composition root builds objects and joins them: it asks no database, waits in no loop, computes nothing itself."""

import ast
from pathlib import Path

import pytest

INTERFACES = Path(__file__).resolve().parents[2] / "interfaces"
MODULES = [*sorted((INTERFACES / "bootstrap").rglob("*.py")), INTERFACES / "executor/bootstrap.py"]
EXECUTING = {"execute", "executemany", "fetchone", "fetchmany", "fetchall", "cursor", "copy"}
"""Attributes by which a statement reaches Postgres."""
WORKING = {
    "datetime.datetime", "fcntl", "hashlib", "json", "logging", "re", "resource", "shutil", "socket", "subprocess",
    "threading", "time", "urllib", "uuid",
}  # fmt: skip
"""Modules of the standard library for those who do something themselves."""


def violations(source: str) -> list[str]:
    bad = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names) if any(alias.name.partition(".")[0] == "sql" for alias in names):
                bad.append(f"line {node.lineno} imports sql")
            case ast.ImportFrom(module="sql"):
                bad.append(f"line {node.lineno} imports sql")
            case ast.Import(names=names) if any(_works(alias.name) for alias in names):
                bad.append(f"line {node.lineno} imports {ast.unparse(node)}")
            case ast.ImportFrom(module=str(name), names=names) if any(_works(f"{name}.{a.name}") for a in names):
                bad.append(f"line {node.lineno} has {ast.unparse(node)}")
            case ast.FunctionDef() | ast.AsyncFunctionDef() if any(_computes(inner) for inner in node.body):
                bad.append(f"line {node.lineno} holds a function of more than a call")
            case ast.Attribute(attr=name) if name in EXECUTING:
                bad.append(f"line {node.lineno} uses .{name}")
            case ast.While() | ast.For() | ast.AsyncFor():  # comprehensions are none: they describe a value
                bad.append(f"line {node.lineno} has a loop")
            case ast.ClassDef(body=body, name=name) if any(
                isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef) for member in body
            ):
                bad.append(f"class {name} has methods")
    return bad


def _works(name: str) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in WORKING)


def _computes(statement: ast.stmt) -> bool:
    """Whether it is a function that does more than forward a call to what is built later."""
    match statement:
        case ast.FunctionDef(body=[ast.Expr(ast.Call())]) | ast.AsyncFunctionDef(body=[ast.Expr(ast.Await())]):
            return False
    return isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(INTERFACES)))
def test_a_module_of_the_composition_root_only_composes(module: Path) -> None:
    assert violations(module.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import sql",
        "import sql as named",
        "from sql import query",
        "async def f(connection): await connection.execute('SELECT 1')",
        "async def f(): await (await pool.cursor()).fetchall()",
        "while True: pass",
        "for table in tables: drop(table)",
        "async def f():\n    async for page in pages: pass",
        "class Candidates:\n    async def idle(self): ...",
        "class Adapter:\n    def __init__(self, reads): ...",
        "import logging",
        "from urllib.parse import quote",
        "from datetime import datetime",
        "def f(base):\n    def url(run): return base + run\n    return url",
    ],
)
def test_what_does_not_compose_is_seen(source: str) -> None:
    assert violations(source) != []


def test_dataclasses_comprehensions_and_forwarded_calls_compose() -> None:
    source = (
        "from datetime import timedelta\n\n@dataclass\nclass Plane:\n    store: EventStore\n\n"
        "names = [one.name for one in all_of_them]\n\n"
        "async def f():\n    async def end(): await later.end()\n    later = Later(Now(end))\n"
    )

    assert violations(source) == []


def test_the_composition_root_is_where_it_is_looked_for() -> None:
    assert {"control_plane.py", "api.py", "background_tasks.py"} <= {module.name for module in MODULES}

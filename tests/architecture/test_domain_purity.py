"""The domain decides, process managers want: no I/O, no clock, no environment, no randomness, no state of their own."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOMAIN = sorted((ROOT / "domain").rglob("*.py"))
# All but the module that sends what they want.
PROCESS_MANAGERS = [
    ROOT / "application/ports/effect_kinds.py",
    *sorted(module for module in (ROOT / "application/process_managers").rglob("*.py") if module.name != "commands.py"),
]
MODULES = DOMAIN + PROCESS_MANAGERS
# From the standard library only what computes. `posixpath` is path arithmetic; `hashlib` and `hmac` are functions.
ALLOWED = {"collections", "datetime", "hashlib", "hmac", "msgspec", "posixpath", "re", "typing", "domain"}
# What process managers may see beside it: each other, and the words for what they want.
ALLOWED_TO_PROCESS_MANAGERS = ALLOWED | {"application.ports.effect_kinds", "application.process_managers"}
# Attributes that reach the world through a module that is allowed, and built-ins that do.
FORBIDDEN_ATTRIBUTES = {"now", "utcnow", "today", "fromtimestamp", "file_digest"}
FORBIDDEN_CALLS = {"open", "input", "print", "exec", "eval", "compile", "__import__", "globals", "breakpoint"}


def imports(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or ""))
    return found


def violations(source: str, allowed: set[str] = ALLOWED) -> list[str]:
    tree = ast.parse(source)
    bad = [
        f"imports {name}"
        for name in sorted(imports(tree))
        if not any(name == root or name.startswith(f"{root}.") for root in allowed)
    ]
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr=name)) if name in FORBIDDEN_ATTRIBUTES:
                bad.append(f"line {node.lineno} calls .{name}()")
            case ast.Call(func=ast.Name(id=name)) if name in FORBIDDEN_CALLS:
                bad.append(f"line {node.lineno} calls {name}()")
            case ast.Global() | ast.Nonlocal() | ast.AsyncFunctionDef() | ast.Await():
                bad.append(f"line {node.lineno} has {type(node).__name__}")
    return bad


def named(module: Path) -> str:
    return str(module.relative_to(ROOT))


@pytest.mark.parametrize("module", DOMAIN, ids=named)
def test_a_domain_module_is_pure(module):
    assert violations(module.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("module", PROCESS_MANAGERS, ids=named)
def test_a_process_manager_is_pure(module):
    assert violations(module.read_text(encoding="utf-8"), ALLOWED_TO_PROCESS_MANAGERS) == []


@pytest.mark.parametrize(
    "source",
    [
        "import os",
        "import time",
        "from random import random",
        "import uuid",
        "import socket",
        "from application.ports.event_store import EventStore",
        "from . import event",
        "import subprocess.sub",
        "from datetime import datetime\ndatetime.now()",
        "from datetime import date\ndate.today()",
        "open('x')",
        "async def decide(): ...",
    ],
)
def test_impurity_is_seen(source):
    assert violations(source) != []
    assert violations(source, ALLOWED_TO_PROCESS_MANAGERS) != []


def test_all_of_the_domain_and_all_process_managers_are_checked():
    assert {"decide.py", "evolve.py", "plan.py", "event.py"} <= {module.name for module in DOMAIN}
    assert {"run_life.py", "session_life.py", "table.py"} <= {module.name for module in PROCESS_MANAGERS}


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_a_pure_module_says_what_it_is_and_stays_short(module):
    source = module.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(source))
    assert len(source.splitlines()) < 400

"""The domain decides; it does no I/O, reads no clock, no environment, no randomness, and keeps no state of its own."""

import ast
from pathlib import Path

import pytest

DOMAIN = Path(__file__).resolve().parents[2] / "domain"
MODULES = sorted(DOMAIN.rglob("*.py"))
# From the standard library only what computes. `posixpath` is path arithmetic; `hashlib` and `hmac` are functions.
ALLOWED = {"collections", "datetime", "hashlib", "hmac", "msgspec", "posixpath", "re", "typing", "domain"}
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


def violations(source: str) -> list[str]:
    tree = ast.parse(source)
    bad = [f"imports {name}" for name in sorted(imports(tree)) if name.split(".")[0] not in ALLOWED]
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr=name)) if name in FORBIDDEN_ATTRIBUTES:
                bad.append(f"line {node.lineno} calls .{name}()")
            case ast.Call(func=ast.Name(id=name)) if name in FORBIDDEN_CALLS:
                bad.append(f"line {node.lineno} calls {name}()")
            case ast.Global() | ast.Nonlocal() | ast.AsyncFunctionDef() | ast.Await():
                bad.append(f"line {node.lineno} has {type(node).__name__}")
    return bad


@pytest.mark.parametrize("module", MODULES, ids=[str(module.relative_to(DOMAIN.parent)) for module in MODULES])
def test_a_domain_module_is_pure(module):
    assert violations(module.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import os",
        "import time",
        "from random import random",
        "import uuid",
        "import socket",
        "from application.ports import EventStore",
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


def test_all_of_the_domain_is_checked():
    assert {"decide.py", "evolve.py", "plan.py", "event.py"} <= {module.name for module in MODULES}


@pytest.mark.parametrize("module", MODULES, ids=[str(module.relative_to(DOMAIN.parent)) for module in MODULES])
def test_a_domain_module_says_what_it_is_and_stays_short(module):
    source = module.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(source))
    assert len(source.splitlines()) < 400

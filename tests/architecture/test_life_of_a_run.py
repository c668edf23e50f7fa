"""The walks through the code name files, functions and methods that are there."""

import ast
import re

import pytest

from tests.architecture.test_repository import REPOSITORY

WALKS = ("docs/explanation/life-of-a-run.md", "docs/explanation/message-stop.md")
STEP = re.compile(r"^\|.*\| `([\w/]+\.py)` \| (.*) \|$", re.MULTILINE)
NAMES = re.compile(r"`([\w.]+)`")


def steps(page: str) -> list[tuple[str, tuple[str, ...]]]:
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    return [(file, tuple(NAMES.findall(names))) for file, names in STEP.findall(text)]


def defined(source: str) -> set[str]:
    """The module's functions, and the methods of its classes as `Class.method`."""
    function = (ast.FunctionDef, ast.AsyncFunctionDef)
    body = ast.parse(source).body
    names = {node.name for node in body if isinstance(node, function)}
    for node in body:
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{each.name}" for each in node.body if isinstance(each, function)}
    return names


@pytest.mark.parametrize("page", WALKS)
def test_each_step_names_a_function_that_its_file_has(page: str) -> None:
    missing = [
        f"{file}: {name}"
        for file, names in steps(page)
        for name in names
        if name not in defined((REPOSITORY / file).read_text(encoding="utf-8"))
    ]

    assert missing == []


@pytest.mark.parametrize("page", WALKS)
def test_each_row_of_a_walk_names_a_file_and_a_function(page: str) -> None:
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ") and ".py`" in line]

    assert len(steps(page)) == len(rows) > 0
    assert [file for file, names in steps(page) if not names] == []


def test_a_method_is_named_with_its_class() -> None:
    source = "def one(): ...\nclass Two:\n    async def three(self): ...\n"

    assert defined(source) == {"one", "Two.three"}

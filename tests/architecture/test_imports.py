"""Imports between files: no circles, and nothing that tests alone reach."""

from pathlib import Path

import pytest

from tests.support.import_graph import REPOSITORY, ImportGraph, executor_roots, project_imports

PROGRAMS = ("interfaces.cli.main", "interfaces.cli.settings_reference")
"""What is started by its name, beside the executor; the last renders a page of the documentation."""


def scripts() -> list[Path]:
    """The scripts in Python but for benches, which measure and keep nothing alive."""
    files = [file for file in (REPOSITORY / "script").rglob("*") if file.is_file() and file.parent.name != "bench.d"]
    return [file for file in files if file.suffix == ".py" or file.read_bytes().startswith(b"#!/usr/bin/env python3")]


def made(folder: Path, **sources: str) -> ImportGraph:
    """A graph of modules of these names in one package; `__` in a name stands for a dot."""
    (folder / "a").mkdir()
    (folder / "a/__init__.py").touch()
    for name, source in sources.items():
        file = (folder / "a" / name.replace("__", "/")).with_suffix(".py")
        file.parent.mkdir(exist_ok=True)
        (file.parent / "__init__.py").touch()
        file.write_text(source, encoding="utf-8")
    return ImportGraph(folder, ("a",))


def test_no_files_import_each_other():
    assert [" imports ".join(circle) for circle in project_imports().cycles()] == []


def test_every_module_is_reached_from_a_program_or_a_script():
    graph = project_imports()
    roots = [
        *PROGRAMS,
        *executor_roots(graph),
        *(module for script in scripts() for module in graph.imports_of_file(script)),
    ]

    assert sorted(graph.modules - graph.closure(roots, with_started=True)) == []


@pytest.mark.parametrize(
    "source",
    [
        "from a.other import name",
        "from a import other",
        "import a.other as o",
        "from .other import name",
        "from . import other",
        "def f():\n    from a.other import name",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from a.other import name",
    ],
)
def test_an_import_counts_wherever_and_however_it_is_written(tmp_path, source):
    graph = made(tmp_path, one=source, other="from a.one import x")

    assert "a.other" in graph.imports("a.one")
    assert graph.cycles() == [("a.one", "a.other", "a.one")]


def test_the_shortest_circle_of_modules_that_import_each_other_is_told(tmp_path):
    graph = made(tmp_path, b="import a.c", c="import a.d\nimport a.e", d="import a.b", e="import a.c", f="import a.b")

    assert graph.cycles() == [("a.c", "a.e", "a.c")]


def test_a_package_that_imports_its_parts_makes_a_circle_with_what_its_parts_import(tmp_path):
    graph = made(tmp_path, room__part="import a.other", other="import a.room.else_", room__else_="")
    (tmp_path / "a/room/__init__.py").write_text("import a.room.part", encoding="utf-8")

    assert graph.cycles() == [("a.other", "a.room", "a.room.part", "a.other")]


def test_a_closure_holds_the_packages_above_and_what_they_import(tmp_path):
    graph = made(tmp_path, room__part="", other="import a.room.part", needed="", alone="")
    (tmp_path / "a/room/__init__.py").write_text("import a.needed", encoding="utf-8")

    assert graph.closure(["a.other"]) == {"a", "a.other", "a.room", "a.room.part", "a.needed"}


def test_a_program_that_is_started_by_its_name_or_file_is_reached_when_asked_for(tmp_path):
    graph = made(tmp_path, one="run('-m', 'a.other')\nrun('third.py')", other="", third="")

    assert graph.closure(["a.one"]) == {"a", "a.one"}
    assert graph.closure(["a.one"], with_started=True) == graph.modules


def test_an_unknown_module_is_an_error():
    with pytest.raises(KeyError, match="nothing"):
        project_imports().closure(["domain.nothing"])

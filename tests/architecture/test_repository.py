"""Rules of the house that no linter knows."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("domain", "application", "projections", "infrastructure", "interfaces")
LINE_LIMIT = 400


def tracked(*patterns):
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return [REPOSITORY / line for line in listed.stdout.splitlines() if (REPOSITORY / line).is_file()]


def modules():
    return [path for path in tracked("*.py") if path.relative_to(REPOSITORY).parts[0] in PACKAGES]


def names(paths):
    return [str(path.relative_to(REPOSITORY)) for path in paths]


LOCKS = ("requirements.lock", "script/test-programs.d/python.txt")


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_names_no_registry_and_no_place_of_a_machine(lock):
    lines = (REPOSITORY / lock).read_text(encoding="utf-8").splitlines()

    assert [line for line in lines if re.search(r"://|--(index|extra|find|trusted)|\s/|file:/|\s@\s", line)] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_in_the_lock_is_pinned_and_hashed(lock):
    text = (REPOSITORY / lock).read_text(encoding="utf-8")
    entries = re.split(r"\n(?=[a-z0-9])", re.sub(r"(?m)^\s*#.*\n", "", text))

    assert len(entries) > 20
    assert [entry.split()[0] for entry in entries if not re.match(r"\S+==\S+.*--hash=sha256:", entry, re.DOTALL)] == []


def test_the_lock_can_be_installed_on_every_supported_python():
    text = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")

    # A package with compiled code has a wheel, so a hash, per Python version.
    for package in ("msgspec", "psycopg-binary", "uvloop", "httptools"):
        entry = re.search(rf"(?m)^{package}==(?:.*\\\n)+.*", text)
        assert entry is not None
        assert entry.group().count("--hash=") >= 12


def test_files_stay_short():
    long = [
        path
        for path in tracked("*.py", "*.sql", "*.js", "script/*")
        if len(path.read_bytes().splitlines()) > LINE_LIMIT
    ]

    assert [name for name in names(long) if name not in LOCKS] == []


@pytest.mark.parametrize("word", ["utils?", "helpers?", "(?<!process_)managers?", "common", "services?", "misc"])
def test_no_module_has_a_name_that_says_nothing(word):
    vague = re.compile(rf"(?:^|_){word}(?:$|_)")

    assert [str(path) for path in modules() if any(vague.search(part) for part in path.with_suffix("").parts)] == []


def test_every_module_says_what_it_is_for():
    silent = [path for path in modules() if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))]

    assert names(silent) == []


def test_the_environment_is_read_at_the_edge_alone():
    readers = [path for path in modules() if re.search(r"\bos\.(environ|getenv)\b", path.read_text(encoding="utf-8"))]

    assert [name for name in names(readers) if not name.startswith("interfaces/")] == []


def test_scripts_are_executable_and_parse():
    commands = [path for path in tracked("script/*") if path.parent.name == "script"]
    scripts = [*commands, REPOSITORY / ".ci/run"]
    for script in scripts:
        assert script.stat().st_mode & 0o111, f"{script.name} is not executable"
        if script.read_text(encoding="utf-8").startswith("#!/usr/bin/env bash"):
            subprocess.run(["bash", "-n", script], check=True, timeout=10)

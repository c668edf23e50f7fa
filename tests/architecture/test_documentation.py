"""What the pages say of the repository is so: paths, names, links, commands, decisions and dependencies."""

import re
import shlex
import subprocess
import tomllib
from itertools import takewhile
from pathlib import Path

import pytest

from interfaces.cli.main import parser
from tests.architecture.test_repository import REPOSITORY, names, tracked

PAGES = tracked("*.md")
DECISIONS = REPOSITORY / "docs/decisions"
ROOMS = "domain|application|projections|infrastructure|interfaces|sql|tests|script|docs|deploy"
PATH = re.compile(rf"(?!application/json$)(?:{ROOMS})/[\w./*-]+")
ROW = re.compile(r"^\| (\S+) \| \[(\S+)\]\(\2\) \| ([^|]+) \| [^|]{20,} \|$", re.MULTILINE)
SECTION = re.compile(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
CLASS = re.compile(r"\b[A-Z][a-z0-9]+(?:[A-Z][a-z0-9]+)+\b")
OPERATORS = "|<>;&"
PLACEHOLDER = re.compile(r"NAME|NNNN")
DATE_LINE = re.compile(r"# .+\n\n\*(\d{4}-\d{2}-\d{2}) · (in force|superseded by \[[\w.-]+\]\([\w.-]+\))\*\n")


def read(path):
    return path.read_text(encoding="utf-8")


def page_id(path):
    return str(path.relative_to(REPOSITORY))


def exists(path):
    if "*" in path:
        return any(REPOSITORY.glob(path))
    if PLACEHOLDER.search(path):
        path = str(Path(path).parent)
    return (REPOSITORY / path).exists()


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_path_that_a_page_names_exists(page):
    quoted = re.findall(r"`([^`\s]+)`", read(page))
    named = {path for path in quoted if PATH.fullmatch(path)}

    assert sorted(path for path in named if not exists(path)) == []


def test_every_class_that_a_page_names_exists():
    known = {word for path in tracked("*.py", "*.js", "*.sql") for word in CLASS.findall(read(path))}
    named = {
        (page_id(page), name)
        for page in PAGES
        for quoted in re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", read(page), flags=re.DOTALL))
        for name in CLASS.findall(quoted)
    }

    assert sorted((page, name) for page, name in named if name not in known) == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_link_within_the_repository_leads_somewhere(page):
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", read(page))]
    local = {link for link in links if link and "://" not in link}

    assert sorted(link for link in local if not (page.parent / link).exists()) == []


def first_command(line):
    """The words of a shell line up to its first operator."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=OPERATORS)
    lexer.whitespace_split = True
    return list(takewhile(lambda word: not set(word) <= set(OPERATORS), lexer))


def commands(page):
    """The commands of a page's shell blocks that begin with a script of ours, or with `fleetlog`."""
    for block in re.findall(r"```sh\n(.*?)```", read(page), re.DOTALL):
        for line in block.splitlines():
            if re.match(r"\s*(?:script/|fleetlog )", line):
                yield first_command(line)


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_command_is_in_a_block_that_is_checked(page):
    fenced = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)

    assert re.findall(r"^ {4,}(?:fleetlog |script/).*", fenced.sub("", read(page)), re.MULTILINE) == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_script_in_a_shell_block_exists_and_every_command_can_be_parsed(page):
    for program, *arguments in commands(page):
        if program != "fleetlog":
            assert (REPOSITORY / program).is_file(), program
            continue
        values = ["1" if re.fullmatch("ID|SEQ|POSITION|4711|…", each) else each for each in arguments]
        parser().parse_args(values)


def test_the_index_of_decisions_has_every_page_with_its_date_and_status():
    pages = {}
    for page in DECISIONS.glob("*.md"):
        if page.name != "README.md":
            found = DATE_LINE.match(read(page))
            assert found, f"{page.name} must begin with its title and a line such as *2026-11-22 · in force*"
            pages[page.name] = found.groups()
    rows = ROW.findall(read(DECISIONS / "README.md"))

    assert {name: (date, status) for date, name, status in rows} == pages
    assert [name for _, name, _ in rows] == sorted(pages)


def test_every_dependency_has_its_reason():
    project = tomllib.loads(read(REPOSITORY / "pyproject.toml"))["project"]
    wanted = {
        "At run time": project["dependencies"],
        "With the extra `otel`": project["optional-dependencies"]["otel"],
        "For development": project["optional-dependencies"]["dev"],
    }
    sections = dict(SECTION.findall(read(DECISIONS / "dependencies.md")))

    for section, requirements in wanted.items():
        packages = [re.split(r"[\[<>=~!; ]", each)[0] for each in requirements]
        assert re.findall(r"^\| `([^`]+)` \| ", sections[section], re.MULTILINE) == packages


def test_the_hooks_before_a_commit_are_checks_of_the_test_script():
    hooks = read(REPOSITORY / ".pre-commit-config.yaml")
    steps = re.findall(r"^begin '([^']+)'", read(REPOSITORY / "script/test"), re.MULTILINE)

    assert re.findall(r"repo: (.+)", hooks) == ["local"]
    assert re.findall(r"\n +name: (.+)", hooks) == steps[:5]


def test_the_script_of_npm_packages_pins_them_with_hashes_and_names_no_registry():
    for lock in tracked("script/*/package-lock.json"):
        text = read(lock)
        assert text.count('"integrity": "sha512-') == text.count('"node_modules/')
        assert "://" not in text, names([lock])


@pytest.mark.parametrize(
    "pattern",
    [
        pytest.param(r"/(root|home/(?!agent)[a-z]+|Users)/", id="a folder of somebody's machine"),
        pytest.param(r"\bSPEC('s| §)", id="a document that is not in the repository"),
    ],
)
def test_no_file_names(pattern):
    found = subprocess.run(
        ["git", "grep", "-nIP", pattern, "--", ":!tests/architecture/test_documentation.py"],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip

    assert (found.returncode, found.stdout + found.stderr) == (1, "")

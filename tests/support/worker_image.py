"""The image of session workers, built by its script from the code under test."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IMAGE = f"fleetlog-worker:test-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]}"
"""A checkout has its own: tests of another one on this machine do not replace it meanwhile."""


def executor_files() -> set[str]:
    """The files that an executor and its providers import, as script/worker-image finds them."""
    providers = sorted(
        str(path.relative_to(ROOT)) for path in ROOT.glob("infrastructure/executor/providers/*/provider.py")
    )
    return imported_files("interfaces/executor/__main__.py", *providers)


def imported_files(*starts: str, root: Path = ROOT) -> set[str]:
    """The files below `root` that `starts` import."""
    found = subprocess.run(
        [sys.executable, ROOT / "script/worker-image.d/closure.py", root, *starts],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(found.stdout.split())


def built_image() -> str:
    """Its name. Skips the test where no Docker Engine answers; with CI=true that fails it."""
    try:
        # By the command, not the library: that leaves a socket open when there is no engine.
        subprocess.run(["docker", "version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no Docker Engine answers: {error}")
        pytest.skip(f"no Docker Engine answers: {error}")
    built = subprocess.run(
        [ROOT / "script/worker-image", "--tag", IMAGE], capture_output=True, text=True, timeout=280, check=False
    )
    assert built.returncode == 0, built.stderr
    told = built.stdout + built.stderr
    assert re.search(rf"{IMAGE}: \d+ MB, on \S+ \(Python \d+\.\d+\S*\), built in \d+ s$", told.strip()), told
    return IMAGE

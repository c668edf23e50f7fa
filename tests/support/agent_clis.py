"""The agents' CLIs, installed by their script into this checkout."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def installed_clis() -> Path:
    """The folder of their programs. Skips the test where they can't be had; with CI=true that fails it."""
    done = subprocess.run([ROOT / "script/agent-clis"], capture_output=True, text=True, timeout=280, check=False)
    if done.returncode != 0:
        if os.environ.get("CI") == "true":
            pytest.fail(f"the agents' CLIs can't be installed: {done.stderr}")
        pytest.skip(f"the agents' CLIs can't be installed: {done.stderr}")
    return ROOT / "build/agent-clis/bin"

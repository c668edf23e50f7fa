"""Debian's Prometheus and Alertmanager: their programs."""

import os
import subprocess
from pathlib import Path

import pytest

PROMETHEUS = Path("/usr/bin/prometheus")
PROMTOOL = Path("/usr/bin/promtool")
ALERTMANAGER = Path("/usr/bin/prometheus-alertmanager")
AMTOOL = Path("/usr/bin/amtool")
PROGRAMS = (PROMETHEUS, PROMTOOL, ALERTMANAGER, AMTOOL)


def required_prometheus() -> None:
    """Skip the test where one of them is missing; fail it there with CI=true."""
    missing = [str(program) for program in PROGRAMS if not program.exists()]
    if not missing:
        return
    reason = f"there is no {', no '.join(missing)}; script/test-programs installs it"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def checked(program: Path, *arguments: str | Path) -> str:
    """What a check printed that found nothing wrong."""
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{program.name} {arguments}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr

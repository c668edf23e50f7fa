"""`script/screenshot` overwrites a tracked image: no argument may do so by mistake."""

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "script/screenshot"


@pytest.mark.parametrize(("argument", "code"), [("--help", 0), ("-h", 0), ("other.png", 2)])
def test_an_argument_only_shows_what_it_does(argument: str, code: int) -> None:
    done = subprocess.run([SCRIPT, argument], capture_output=True, text=True, timeout=10, check=False)

    assert done.returncode == code
    assert len(done.stderr.splitlines()) == 2
    assert "docs/images/console.png" in done.stderr

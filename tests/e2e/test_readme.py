"""The README's commands, run as they stand."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.fleetlog_server import FleetlogServer

README = Path(__file__).resolve().parents[2] / "README.md"


def curl_blocks() -> list[str]:
    """The README's shell blocks that talk to the server, in order."""
    blocks = re.findall(r"```sh\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    return [block for block in blocks if "curl " in block]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_readmes_curl_commands_do_what_it_says(own_fleetlog: FleetlogServer) -> None:
    blocks = curl_blocks()
    assert len(blocks) > 5

    outputs = []
    for block in blocks:
        here = block.replace("localhost:8080", f"127.0.0.1:{own_fleetlog.port}").replace(
            "curl ", "curl --fail-with-body "
        )
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", here], capture_output=True, text=True, timeout=90, check=False
        )
        assert done.returncode == 0, f"{here}\n{done.stdout}\n{done.stderr}\n{own_fleetlog.log_tail()}"
        outputs.append(done.stdout)

    said = "\n".join(outputs)
    assert '"action":"created_and_started"' in said
    assert "hello" in said
    assert "you said yes" in said
    assert "event: run.closed" in said
    assert '"state":"stopped"' in said


def test_the_first_screen_names_the_two_commands() -> None:
    first_screen = "\n".join(README.read_text(encoding="utf-8").splitlines()[:25])

    for command in ("script/demo", "script/server"):
        assert command in first_screen
        assert (README.parent / command).stat().st_mode & 0o100

"""A Fleetlog that starts a server and is then killed with SIGKILL, as by the kernel when memory runs out."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


@contextmanager
def starter(kind: str, home: Path) -> Iterator[subprocess.Popen[str]]:
    """The starter, with its server running and the home locked; killed at the end of the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.starter", kind, str(home)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "started\n"
            yield process
        finally:
            process.kill()


def all_command_lines() -> str:
    """What `ps` shows to every user of the machine."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(FileNotFoundError, ProcessLookupError):
            found.append(file.read_bytes().decode(errors="replace"))
    assert any("tests.support" in line or "pytest" in line for line in found)
    return "\n".join(found)


def kill_and_wait(pid: int) -> None:
    """SIGKILL, and back when the process has died (a child of ours stays as a zombie)."""
    descriptor = os.pidfd_open(pid)
    try:
        os.kill(pid, signal.SIGKILL)
        assert select.select([descriptor], [], [], 10)[0], f"process {pid} outlived SIGKILL"
    finally:
        os.close(descriptor)


def start_and_kill(kind: str, home: Path) -> None:
    with starter(kind, home):
        pass

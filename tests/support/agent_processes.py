"""The living processes of a run's agent, found by their environment."""

import time
from pathlib import Path

from infrastructure import process_tree

PATIENCE_S = 120


def processes_of(run_id: str) -> list[str]:
    """The command lines of the agent and of all that it started."""
    marker = f"FLEETLOG_RUN_ID={run_id}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if marker in (folder / "environ").read_bytes().split(b"\0"):
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found


def assert_none_left(run_id: str) -> None:
    """A killed process is in /proc until it has ended: a moment later."""
    deadline = time.monotonic() + PATIENCE_S
    while (living := process_tree.marked(f"FLEETLOG_RUN_ID={run_id}")) and time.monotonic() < deadline:
        process_tree.wait_for_end(living, deadline - time.monotonic())
    assert processes_of(run_id) == []

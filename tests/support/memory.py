"""What a process takes of the machine's memory."""

import os
from pathlib import Path


def resident_bytes(pid: int | None = None) -> int:
    """The resident set of a process, of this one if none is named; Linux only."""
    pages = Path(f"/proc/{pid or os.getpid()}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def peak_bytes(pid: int) -> int:
    """The largest resident set that a process ever had."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} is gone")

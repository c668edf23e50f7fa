"""What a process takes of the machine's memory."""

import os
from pathlib import Path


def resident_bytes(pid: int | None = None) -> int:
    """The resident set of a process, of this one if none is named; Linux only."""
    pages = Path(f"/proc/{pid or os.getpid()}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")

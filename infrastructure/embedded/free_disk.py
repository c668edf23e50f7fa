"""Whether a home's disk has room for what a running Fleetlog writes there."""

import shutil
from pathlib import Path

from infrastructure.embedded.errors import HomeFull

LEAST_FREE_BYTES = 64 * 1024**2
"""Postgres extends its log by 16 MiB at a time, and a checkpoint needs room beside it."""


def check_free_disk(home: Path) -> int:
    """The free bytes of the disk that holds this folder. Raises HomeFull below LEAST_FREE_BYTES, OSError."""
    free = shutil.disk_usage(home).free
    if free < LEAST_FREE_BYTES:
        raise HomeFull(home, free, LEAST_FREE_BYTES)
    return free

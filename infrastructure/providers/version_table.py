"""Capabilities by version of a CLI: what changed from which version on."""

import re
from collections.abc import Sequence

from domain.run.capabilities import Capabilities


def version_key(version: str) -> tuple[int, ...]:
    """Comparable; empty when there is no version in the text."""
    found = re.search(r"\d+(?:\.\d+)+", version)
    return tuple(int(part) for part in found.group().split(".")) if found else ()


def capabilities_at(table: Sequence[tuple[str, Capabilities]], version: str) -> Capabilities:
    """The row of the newest version that is not newer than this one. `table` is ordered, oldest first; without a
    version the last row counts, for one that is older than the first row that one."""
    key = version_key(version)
    if not key:
        return table[-1][1]
    fitting = [row for since, row in table if version_key(since) <= key]
    return fitting[-1] if fitting else table[0][1]

"""Capabilities by version of a CLI."""

import re
from collections.abc import Sequence

from domain.run.capabilities import Capabilities


def version_key(version: str) -> tuple[int, ...]:
    """The first dotted number in the text as a comparable tuple; empty if there is none."""
    found = re.search(r"\d+(?:\.\d+)+", version)
    return tuple(int(part) for part in found.group().split(".")) if found else ()


def capabilities_at(table: Sequence[tuple[str, Capabilities]], version: str) -> Capabilities:
    """The last row whose version is not newer than `version`. `table` is ordered, oldest version first. An unknown
    version counts as the newest, one older than the table as its first row."""
    key = version_key(version)
    if not key:
        return table[-1][1]
    fitting = [row for since, row in table if version_key(since) <= key]
    return fitting[-1] if fitting else table[0][1]

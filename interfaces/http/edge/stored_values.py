"""Bounds on callers' JSON that will be stored in the log, checked before a command is made of it."""

from typing import Any

import msgspec

from domain.event import MAX_PAYLOAD_BYTES, nested_deeper
from domain.run.values import Usage
from domain.workspace.manifest import RuntimeManifest
from interfaces.http_conventions.problems import invalid

MAX_MANIFEST_BYTES = 100 * 1024
MOST_OF_USAGE = 10**12
"""Tokens, or US dollars, of one run: sums over all runs stay exact, and in a database's range."""
MAX_FREE_FORM_DEPTH = 100
"""The event around it has a few levels of its own (MAX_PAYLOAD_DEPTH)."""


def check_free_form(field: str, value: Any) -> None:
    """Free-form JSON may have 256 KiB and MAX_FREE_FORM_DEPTH levels of nesting. Raises Problem 400 for `field`."""
    try:
        raw = msgspec.json.encode(value)
    except (RecursionError, OverflowError, ValueError) as error:
        raise invalid(field, f"can't be stored: {error}") from error
    if len(raw) > MAX_PAYLOAD_BYTES:
        raise invalid(field, f"is {len(raw)} bytes of JSON; at most {MAX_PAYLOAD_BYTES} are stored")
    if nested_deeper(raw, MAX_FREE_FORM_DEPTH):
        raise invalid(field, f"is nested deeper than {MAX_FREE_FORM_DEPTH} levels")


def check_integers(field: str, value: Any) -> None:
    """Raises Problem 400 for an integer anywhere in the JSON that exceeds 64 bits: no database column could hold it."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
        elif isinstance(item, int) and not -(2**63) <= item < 2**63:
            raise invalid(field, "holds an integer of more than 64 bits")


def check_manifest_size(manifest: RuntimeManifest | None) -> None:
    """A manifest may have 100 KiB, as the log stores it twice: in the event, and in its plan. Raises Problem 400."""
    size = len(msgspec.json.encode(manifest))
    if size > MAX_MANIFEST_BYTES:
        raise invalid("manifest", f"is {size} bytes of JSON; at most {MAX_MANIFEST_BYTES} are taken")


def check_usage(field: str, usage: Usage) -> None:
    """Raises Problem 400, below `field`, for what no run can have used: it would spoil the sums of all runs."""
    for name, wire in zip(usage.__struct_fields__, usage.__struct_encode_fields__, strict=True):
        if not 0 <= (getattr(usage, name) or 0) <= MOST_OF_USAGE:
            raise invalid(f"{field}.{wire}", f"must be between 0 and {MOST_OF_USAGE}")

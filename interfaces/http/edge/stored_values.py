"""Bounds on callers' JSON that will be stored in the log, checked before a command is made of it."""

import re
from typing import Any

import msgspec

from domain.event import MAX_PAYLOAD_BYTES
from domain.workspace.manifest import RuntimeManifest
from interfaces.http_conventions.problems import invalid

MAX_MANIFEST_BYTES = 100 * 1024
MAX_DEPTH = 100
JSON_STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
"""A string of JSON. Unrolled: letter by letter, `(?:[^"\\]|\\.)*` takes ten times as long."""
_STRUCTURE = re.compile(JSON_STRING + rb"|[\[\]{}]", re.DOTALL)


def check_free_form(field: str, value: Any) -> None:
    """Free-form JSON may have 256 KiB and 100 levels of nesting. Raises Problem 400 for `field`."""
    try:
        raw = msgspec.json.encode(value)
    except (RecursionError, OverflowError, ValueError) as error:
        raise invalid(field, f"can't be stored: {error}") from error
    if len(raw) > MAX_PAYLOAD_BYTES:
        raise invalid(field, f"is {len(raw)} bytes of JSON; at most {MAX_PAYLOAD_BYTES} are stored")
    depth = 0
    for token in _STRUCTURE.finditer(raw):
        mark = token.group()
        depth += mark in b"[{"
        depth -= mark in b"]}"
        if depth > MAX_DEPTH:
            raise invalid(field, f"is nested deeper than {MAX_DEPTH} levels")


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

"""Reads the object of a line whose values may be nested more deeply than a decoder of JSON can follow."""

import re
from typing import Any

import msgspec

from domain.event import JSON_STRING, MAX_PAYLOAD_BYTES, MAX_PAYLOAD_DEPTH

_STRUCTURE = re.compile(JSON_STRING + rb"|[\[\]{}]", re.DOTALL)


def decoded(content: bytes) -> Any:
    """The value of a JSON document. Of one that no decoder can follow, the object's fields that have too many levels
    for the log are the text of their JSON, if it is no longer than a payload may be: bracket by bracket takes its time.
    Raises as msgspec.json.decode."""
    try:
        return msgspec.json.decode(content)
    except RecursionError:
        if len(content) > MAX_PAYLOAD_BYTES:
            raise
        return msgspec.json.decode(_with_texts(content))


def _with_texts(document: bytes) -> bytes:
    pieces: list[bytes] = []
    level = deepest = start = after = 0
    for token in _STRUCTURE.finditer(document):
        mark = token.group()
        if mark in b"[{":
            level += 1
            deepest = max(deepest, level)
            if level == 2:
                start, deepest = token.start(), level
        elif mark in b"]}":
            level -= 1
            if level == 1 and deepest > MAX_PAYLOAD_DEPTH:
                text = document[start : token.end()].decode()
                pieces += (document[after:start], msgspec.json.encode(text))
                after = token.end()
    return b"".join((*pieces, document[after:]))

"""The words by which an event is found: those of all texts in its payload, in lower case. Pure.

A word is a run of letters, digits and underscores. Names of fields are no words, nor is what lies between texts: a word
that two deltas share halves of is found in neither.
"""

import re
from typing import Any

import msgspec

VERSION = 1
"""Raised by hand with every change here: the index is then made anew."""

MAX_WORD = 64
MAX_WORDS = 10_000
_WORD = re.compile(r"\w+")


def words_of_text(text: str) -> set[str]:
    """At most 64 letters of each; longer ones are found by their beginning."""
    return {word[:MAX_WORD] for word in _WORD.findall(text.lower())}


def words_of_payload(payload: bytes) -> set[str]:
    """Of a payload that is no JSON: none."""
    try:
        pending: list[Any] = [msgspec.json.decode(payload)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return set()
    words: set[str] = set()
    while pending and len(words) < MAX_WORDS:
        value = pending.pop()
        if isinstance(value, str):
            words |= words_of_text(value)
        elif isinstance(value, dict):
            pending += value.values()
        elif isinstance(value, list):
            pending += value
    return words

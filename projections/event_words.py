"""The words by which an event is found: those of all texts in its payload, in lower case. Pure.

A word is a run of letters, digits and underscores. Names of fields are no words, nor is what lies between texts: a word
that two deltas share halves of is found in neither.
"""

import re
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any

import msgspec

VERSION = 1
"""Raised by hand with every change here: the index is then made anew."""

MAX_WORD = 64
MAX_WORDS = 10_000
SHORT_TEXT = 64
_WORD = re.compile(r"\w+")


def words_of_text(text: str) -> AbstractSet[str]:
    """At most 64 letters of each; longer ones are found by their beginning."""
    return _words_of_short_text(text) if len(text) <= SHORT_TEXT else _words(text)


def _words(text: str) -> frozenset[str]:
    return frozenset([word[:MAX_WORD] for word in _WORD.findall(text.lower())])


_words_of_short_text = lru_cache(maxsize=4096)(_words)
"""Names, ids and phases come again and again."""


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

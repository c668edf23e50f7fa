"""The terms that an event is indexed under: the words of all strings in its payload, in lower case. Pure.

A term is a sequence of letters, digits and underscores. Field names are not indexed. Each event is indexed by itself,
so a word that is split between two deltas is not found.
"""

import re
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any

import msgspec

VERSION = 1
"""Raise it with every change of the terms: the index is then rebuilt."""

MAX_TERM_LENGTH = 64
MAX_TERMS = 10_000
SHORT_TEXT = 64
_TERM = re.compile(r"\w+")


def terms_of_text(text: str) -> AbstractSet[str]:
    """The terms of a text, each cut to MAX_TERM_LENGTH characters."""
    return _terms_of_short_text(text) if len(text) <= SHORT_TEXT else _terms(text)


def _terms(text: str) -> frozenset[str]:
    return frozenset([word[:MAX_TERM_LENGTH] for word in _TERM.findall(text.lower())])


_terms_of_short_text = lru_cache(maxsize=4096)(_terms)
"""Cached, because names, ids and phases recur."""


def terms_of_payload(payload: bytes) -> set[str]:
    """The terms of all strings in a JSON payload; none if it is not JSON. About MAX_TERMS at most."""
    try:
        pending: list[Any] = [msgspec.json.decode(payload)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return set()
    terms: set[str] = set()
    while pending and len(terms) < MAX_TERMS:
        value = pending.pop()
        if isinstance(value, str):
            terms |= terms_of_text(value)
        elif isinstance(value, dict):
            pending += value.values()
        elif isinstance(value, list):
            pending += value
    return terms

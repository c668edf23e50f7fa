"""Postgres values in their binary wire format: numbers, and one-dimensional arrays built with one join each.

psycopg's own list adaptation inspects and dumps every element; a batch of events has hundreds of them.
"""

import struct
from collections.abc import Sequence

_header = struct.Struct(">iiIii").pack
_length = struct.Struct(">i").pack
integer = struct.Struct(">i").pack
bigint = struct.Struct(">q").pack
_NULL = _length(-1)


def text_array(values: Sequence[bytes]) -> bytes:
    """Of UTF-8 texts."""
    return _array(25, list(map(_length, map(len, values))), values)


def nullable_text_array(values: Sequence[bytes | None]) -> bytes:
    """Of UTF-8 texts; None is null."""
    lengths = [_NULL if value is None else _length(len(value)) for value in values]
    return _array(25, lengths, [value or b"" for value in values], has_null=1)


def bytea_array(values: Sequence[bytes]) -> bytes:
    return _array(17, list(map(_length, map(len, values))), values)


def integer_array(values: Sequence[int]) -> bytes:
    return _array(23, [_length(4)] * len(values), list(map(integer, values)))


def bigint_array(values: Sequence[int]) -> bytes:
    return _array(20, [_length(8)] * len(values), list(map(bigint, values)))


def timestamptz_array(values: Sequence[int]) -> bytes:
    """Of microseconds since 2000-01-01T00:00:00Z."""
    return _array(1184, [_length(8)] * len(values), list(map(bigint, values)))


def _array(element_oid: int, lengths: list[bytes], values: Sequence[bytes], has_null: int = 0) -> bytes:
    parts = [b""] * (2 * len(values) + 1)
    parts[0] = _header(1, has_null, element_oid, len(values), 1)
    parts[1::2] = lengths
    parts[2::2] = values
    return b"".join(parts)

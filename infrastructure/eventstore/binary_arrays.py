"""One-dimensional Postgres arrays in their binary wire format, built with one join per column.

psycopg's own list adaptation inspects and dumps every element; a batch of events has hundreds of them.
"""

import struct
from collections.abc import Iterable, Sequence
from itertools import chain

from psycopg import adapt
from psycopg.pq import Format

_HEADER = struct.Struct(">iiIii")
_LENGTH = struct.Struct(">i")
_INT4 = struct.Struct(">ii")
_INT8 = struct.Struct(">iq")


class TextArray(bytes):
    """The wire format of text[]."""


class ByteaArray(bytes):
    """The wire format of bytea[]."""


class IntegerArray(bytes):
    """The wire format of integer[]."""


class BigintArray(bytes):
    """The wire format of bigint[]."""


class TimestamptzArray(bytes):
    """The wire format of timestamptz[]."""


_ELEMENT_OIDS = {TextArray: 25, ByteaArray: 17, IntegerArray: 23, BigintArray: 20, TimestamptzArray: 1184}
_ARRAY_OIDS = {TextArray: 1009, ByteaArray: 1001, IntegerArray: 1007, BigintArray: 1016, TimestamptzArray: 1185}


def _header(element_oid: int, count: int) -> bytes:
    return _HEADER.pack(1, 0, element_oid, count, 1)


def text_array(values: Sequence[bytes]) -> TextArray:
    """UTF-8 texts."""
    return TextArray(_header(25, len(values)) + _joined(values))


def bytea_array(values: Sequence[bytes]) -> ByteaArray:
    return ByteaArray(_header(17, len(values)) + _joined(values))


def integer_array(values: Sequence[int]) -> IntegerArray:
    return IntegerArray(_header(23, len(values)) + b"".join([_INT4.pack(4, value) for value in values]))


def bigint_array(values: Sequence[int]) -> BigintArray:
    return BigintArray(_header(20, len(values)) + b"".join([_INT8.pack(8, value) for value in values]))


def timestamptz_array(values: Sequence[int]) -> TimestamptzArray:
    """Microseconds since 2000-01-01T00:00:00Z."""
    return TimestamptzArray(_header(1184, len(values)) + b"".join([_INT8.pack(8, value) for value in values]))


def _joined(values: Iterable[bytes]) -> bytes:
    return b"".join(chain.from_iterable([(_LENGTH.pack(len(value)), value) for value in values]))


def register(adapters: adapt.AdaptersMap) -> None:
    """Let a connection pass these arrays as they are."""
    for array, oid in _ARRAY_OIDS.items():
        dumper = type(f"{array.__name__}Dumper", (_AsIs,), {"oid": oid})
        adapters.register_dumper(array, dumper)


class _AsIs(adapt.Dumper):
    format = Format.BINARY

    def dump(self, obj: bytes) -> bytes:
        return obj
